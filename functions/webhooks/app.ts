import { parseSealingKey, type SealingKey } from '@crystal-forge/control-plane'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi, problem } from '../http-api.ts'
import type { Log } from '../log.ts'
import { openRelay } from '../relay-queue.ts'
import { fromFile, type ReadSecret, type SecretSource, whereOf } from '../secret-source.ts'
import type { Config } from './config.ts'
import { postDelivery } from './post-delivery.ts'

type Parts = {
  readonly log: Log
  readonly now?: () => Date
  readonly readSecret?: ReadSecret
}

/** Deliveries of git forges. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date(), readSecret = fromFile }: Parts,
): { handler: HttpHandler; close(): Promise<void> } {
  const database = openDatabase(config.database, 'webhooks')
  const sealingKey = readSealingKey(config.sealingKey, readSecret)
  const relay = openRelay(config.relayQueue, log)
  const handler = httpApi(
    {
      'POST /v1/hooks/{hook}': relay.after(postDelivery({ database, sealingKey, now, log })),
      // The original took pushes from anybody here. A forge that still points to it gets the remedy in its delivery log.
      'POST /webhook': async () =>
        problem(
          410,
          'hook_moved',
          'deliver to POST /v1/hooks/{id} with a secret: declare the hook in fleet.toml, and `cf apply` prints its address',
        ),
    },
    log,
  )
  const close = async (): Promise<void> => {
    await database.end()
    relay.close()
  }
  return { handler, close }
}

function readSealingKey(source: SecretSource, readSecret: ReadSecret): SealingKey {
  const key = parseSealingKey(readSecret(source))
  if (key === null)
    throw new Error(`${whereOf(source)} is not the base64 of 32 bytes; restore it from a backup`)
  return key
}
