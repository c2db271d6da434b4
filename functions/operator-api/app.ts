import { readFileSync } from 'node:fs'
import { parseSealingKey, type SealingKey } from '@crystal-forge/control-plane'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import { builderEndpoints } from './builders.ts'
import { cacheEndpoints } from './cache.ts'
import type { Config } from './config.ts'
import { driftEndpoints } from './drift.ts'
import { authorised, type Context, type OperatorEndpoint } from './endpoint.ts'
import { evidenceEndpoints } from './evidence.ts'
import { flakeEndpoints } from './flakes.ts'
import { fleetEndpoints } from './fleet.ts'
import { jobEndpoints } from './jobs.ts'
import { keyEndpoints } from './keys.ts'
import { pipelineEndpoints } from './pipeline.ts'
import { systemEndpoints } from './systems.ts'
import { tokenEndpoints } from './tokens.ts'

/** What operators read and change. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const pool = openDatabase(config.database, 'operator-api')
  const context: Context = { pool, sealingKey: readSealingKey(config.sealingKeyFile), now }
  const endpoints: Record<string, OperatorEndpoint> = {
    ...systemEndpoints(context),
    ...driftEndpoints(context),
    ...flakeEndpoints(context),
    ...pipelineEndpoints(context),
    ...jobEndpoints(context),
    ...builderEndpoints(context),
    ...cacheEndpoints(context),
    ...evidenceEndpoints(context),
    ...fleetEndpoints(context),
    ...keyEndpoints(context),
    ...tokenEndpoints(context),
  }
  const handler = httpApi(
    Object.fromEntries(
      Object.entries(endpoints).map(([route, endpoint]) => [route, authorised(context, endpoint)]),
    ),
    log,
  )
  return { handler, close: () => pool.end() }
}

function readSealingKey(file: string): SealingKey {
  const key = parseSealingKey(readFileSync(file, 'utf8'))
  if (key === null) throw new Error(`SEALING_KEY_FILE: ${file} does not hold the base64 of 32 bytes`)
  return key
}
