import { readFileSync } from 'node:fs'
import { parseSealingKey, type SealingKey } from '@crystal-forge/control-plane'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi, problem } from '../http-api.ts'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { postDelivery } from './post-delivery.ts'

/** Deliveries of git forges. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const database = openDatabase(config.database, 'webhooks')
  const sealingKey = readSealingKey(config.sealingKeyFile)
  const handler = httpApi(
    {
      'POST /v1/hooks/{hook}': postDelivery({ database, sealingKey, now, log }),
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
  return { handler, close: () => database.end() }
}

function readSealingKey(file: string): SealingKey {
  const key = parseSealingKey(readFileSync(file, 'utf8'))
  if (key === null)
    throw new Error(`SEALING_KEY_FILE: ${file} is not the base64 of 32 bytes; restore it from a backup`)
  return key
}
