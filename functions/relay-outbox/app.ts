import { queue, sqsClient } from '@crystal-forge/aws'
import { openDatabase } from '../database.ts'
import type { Log } from '../log.ts'
import { type ScheduledHandler, scheduled } from '../schedule.ts'
import type { Config } from './config.ts'
import { type Relayed, relayOutbox } from './relay.ts'

/** Carries hints from the outbox to the queues. `close` ends the connections. */
export function app(
  config: Config,
  { log }: { readonly log: Log },
): { handler: ScheduledHandler<Relayed>; close(): Promise<void> } {
  const database = openDatabase(config.database, 'relay-outbox')
  const client = sqsClient(config.aws)
  const { resolve, evaluate, build, scan } = config.queues
  const queues = {
    resolve: queue(client, resolve),
    evaluate: queue(client, evaluate),
    build: queue(client, build),
    scan: queue(client, scan),
  }
  const handler = scheduled('relay-outbox', () => relayOutbox({ database, queues, log }), log)
  const close = async (): Promise<void> => {
    await database.end()
    client.destroy()
  }
  return { handler, close }
}
