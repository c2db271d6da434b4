import { parseSealingKey, type SealingKey } from '@crystal-forge/control-plane'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import { authorised, type OperatorEndpoint } from '../operator-endpoint.ts'
import { openRelay } from '../relay-queue.ts'
import { fromFile, type ReadSecret, type SecretSource, whereOf } from '../secret-source.ts'
import { builderEndpoints } from './builders.ts'
import { cacheEndpoints } from './cache.ts'
import type { Config } from './config.ts'
import { deadLetterEndpoints } from './dead-letters.ts'
import { driftEndpoints } from './drift.ts'
import { enrollTokenEndpoints } from './enroll-tokens.ts'
import { evidenceEndpoints } from './evidence.ts'
import { flakeEndpoints } from './flakes.ts'
import { type FleetContext, fleetEndpoints } from './fleet.ts'
import { jobEndpoints } from './jobs.ts'
import { keyEndpoints } from './keys.ts'
import { pipelineEndpoints } from './pipeline.ts'
import { systemEndpoints } from './systems.ts'
import { tokenEndpoints } from './tokens.ts'

type Parts = {
  readonly log: Log
  readonly now?: () => Date
  readonly readSecret?: ReadSecret
}

/** What operators read and change. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date(), readSecret = fromFile }: Parts,
): { handler: HttpHandler; close(): Promise<void> } {
  const pool = openDatabase(config.database, 'operator-api')
  const context: FleetContext = { pool, sealingKey: readSealingKey(config.sealingKey, readSecret), now }
  const deadLetters = deadLetterEndpoints(context, config.deadLetters)
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
    ...enrollTokenEndpoints(context),
    ...deadLetters.endpoints,
  }
  const relay = openRelay(config.relayQueue, log)
  const handler = httpApi(
    Object.fromEntries(
      Object.entries(endpoints).map(([route, endpoint]) => [
        route,
        // A retry, a poll or a new flake is work for builders; a question is not.
        route.startsWith('GET ') ? authorised(context, endpoint) : relay.after(authorised(context, endpoint)),
      ]),
    ),
    log,
  )
  const close = async (): Promise<void> => {
    await pool.end()
    relay.close()
    deadLetters.close()
  }
  return { handler, close }
}

function readSealingKey(source: SecretSource, readSecret: ReadSecret): SealingKey {
  const key = parseSealingKey(readSecret(source))
  if (key === null) throw new Error(`${whereOf(source)} does not hold the base64 of 32 bytes`)
  return key
}
