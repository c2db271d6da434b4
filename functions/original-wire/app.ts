import { originalReports } from '@crystal-forge/postgres'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { postOriginal } from './post-original.ts'

/** The three routes of the original's agents. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const database = openDatabase(config.database, 'original-wire')
  const parts = { reports: originalReports(database), now, log }
  const state = postOriginal('state', parts)
  const handler = httpApi(
    {
      'POST /agent/state': state,
      'POST /agent/heartbeat': postOriginal('heartbeat', parts),
      'POST /system_state': state,
    },
    log,
  )
  return { handler, close: () => database.end() }
}
