import { parseSeed, type SecretSeed } from '@crystal-forge/protocol'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import { authorised, type Context, type OperatorEndpoint } from '../operator-endpoint.ts'
import { fromFile, type ReadSecret, type SecretSource, whereOf } from '../secret-source.ts'
import { attestationEndpoints } from './attestations.ts'
import { catalogueFolder } from './catalogue-folder.ts'
import { commitControlEndpoints } from './commit-controls.ts'
import type { Config } from './config.ts'
import { controlEndpoints } from './controls.ts'
import { exportEndpoints } from './exports.ts'
import { importEndpoints } from './imports.ts'
import { scoreEndpoints } from './scores.ts'
import { waiverEndpoints } from './waivers.ts'

type Parts = {
  readonly log: Log
  /** The directory of the benchmark, `catalogue/` of the project. */
  readonly catalogue: string
  readonly now?: () => Date
  readonly readSecret?: ReadSecret
}

/** Controls, their evidence and their exports, for operators and auditors. `close` ends the connections. */
export function app(
  config: Config,
  { log, catalogue, now = () => new Date(), readSecret = fromFile }: Parts,
): { handler: HttpHandler; close(): Promise<void> } {
  const pool = openDatabase(config.database, 'controls-api')
  const context: Context = { pool, now }
  const benchmark = catalogueFolder(catalogue)
  const endpoints: Record<string, OperatorEndpoint> = {
    ...controlEndpoints(context, benchmark),
    ...scoreEndpoints(context, benchmark),
    ...commitControlEndpoints(context, benchmark),
    ...exportEndpoints(context, benchmark, readSigningKey(config.exportSigningKey, readSecret)),
    ...attestationEndpoints(context, benchmark),
    ...waiverEndpoints(context, benchmark),
    ...importEndpoints(context, benchmark),
  }
  const handler = httpApi(
    Object.fromEntries(
      Object.entries(endpoints).map(([route, endpoint]) => [route, authorised(context, endpoint)]),
    ),
    log,
  )
  return { handler, close: () => pool.end() }
}

function readSigningKey(source: SecretSource, readSecret: ReadSecret): SecretSeed {
  const seed = parseSeed(readSecret(source))
  if (seed === null) throw new Error(`${whereOf(source)} does not hold the base64 of a 32-byte seed`)
  return seed
}
