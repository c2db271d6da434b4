import { bucket, s3Client } from '@crystal-forge/aws'
import { openDatabase } from '../database.ts'
import type { Log } from '../log.ts'
import { narinfoPublisher } from '../narinfo-publisher.ts'
import { openRelay } from '../relay-queue.ts'
import { type ScheduledHandler, scheduled } from '../schedule.ts'
import type { Config } from './config.ts'
import { type Swept, sweep } from './sweep.ts'
import { watch } from './watch.ts'

/** What is due by time. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: ScheduledHandler<Swept>; close(): Promise<void> } {
  const database = openDatabase(config.database, 'sweep')
  const client = s3Client(config.aws)
  const publish = narinfoPublisher(bucket(client, config.cacheBucket))
  const { hintAgainS, expiryDays, revocationListEndsAt } = config
  const relay = openRelay(config.relayQueue, log)
  const handler = scheduled(
    'sweep',
    async () => {
      // First, and whatever happens: a sweep that fails or takes too long is what somebody has to see.
      try {
        log('debug', 'watch', await watch({ database, expiryDays, revocationListEndsAt, now }))
      } catch (error) {
        log('error', 'the watch failed', { error })
      }
      const swept = await sweep({ database, publish, hintAgainS, log })
      if (swept.expired + swept.hinted + swept.polled + swept.rescanned > 0) await relay.wake()
      return swept
    },
    log,
  )
  const close = async (): Promise<void> => {
    await database.end()
    client.destroy()
    relay.close()
  }
  return { handler, close }
}
