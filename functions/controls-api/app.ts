import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import { authorised, type Context, type OperatorEndpoint } from '../operator-endpoint.ts'
import { attestationEndpoints } from './attestations.ts'
import { catalogueFolder } from './catalogue-folder.ts'
import type { Config } from './config.ts'
import { controlEndpoints } from './controls.ts'
import { importEndpoints } from './imports.ts'
import { waiverEndpoints } from './waivers.ts'

type Parts = {
  readonly log: Log
  /** The directory of the benchmark, `catalogue/` of the project. */
  readonly catalogue: string
  readonly now?: () => Date
}

/** Controls, their evidence and their exports, for operators and auditors. `close` ends the connections. */
export function app(
  config: Config,
  { log, catalogue, now = () => new Date() }: Parts,
): { handler: HttpHandler; close(): Promise<void> } {
  const pool = openDatabase(config.database, 'controls-api')
  const context: Context = { pool, now }
  const benchmark = catalogueFolder(catalogue)
  const endpoints: Record<string, OperatorEndpoint> = {
    ...controlEndpoints(context, benchmark),
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
