import { bucket, s3Client } from '@crystal-forge/aws'
import { openDatabase } from '../database.ts'
import type { Log } from '../log.ts'
import { narinfoPublisher } from '../narinfo-publisher.ts'
import { type ScheduledHandler, scheduled } from '../schedule.ts'
import type { Config } from './config.ts'
import { type Swept, sweep } from './sweep.ts'

/** What is due by time. `close` ends the connections. */
export function app(
  config: Config,
  { log }: { readonly log: Log },
): { handler: ScheduledHandler<Swept>; close(): Promise<void> } {
  const database = openDatabase(config.database, 'sweep')
  const client = s3Client(config.aws)
  const publish = narinfoPublisher(bucket(client, config.cacheBucket))
  const { hintAgainS } = config
  const handler = scheduled('sweep', () => sweep({ database, publish, hintAgainS, log }), log)
  const close = async (): Promise<void> => {
    await database.end()
    client.destroy()
  }
  return { handler, close }
}
