import type { Pool } from '@crystal-forge/postgres'
import {
  findApiToken,
  inTransaction,
  pingDatabase,
  type ServiceStats,
  serviceStats,
} from '@crystal-forge/postgres'
import { openDatabase } from '../database.ts'
import { type Endpoint, type HttpHandler, httpApi, type Reply } from '../http-api.ts'
import type { Log } from '../log.ts'
import { recogniseToken } from '../operator.ts'
import type { Config } from './config.ts'

/** `GET /status`, the original's health route. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const pool = openDatabase(config.database, 'status')
  return { handler: httpApi({ 'GET /status': status(pool, { log, now }) }, log), close: () => pool.end() }
}

/**
 * Whether the database answers, for everybody: 200 or 503. The counts are those of the caller's tenant, for whoever
 * presents a token; a token that is refused is a 401 and not an answer without counts.
 */
function status(pool: Pool, { log, now }: { readonly log: Log; readonly now: () => Date }): Endpoint {
  return async (request) => {
    try {
      if (!request.headers.some(([name]) => name === 'authorization')) {
        await pingDatabase(pool)
        return answer(now(), null)
      }
      const recognised = await recogniseToken(request, (sha256) => findApiToken(pool, sha256), now())
      if (!recognised.ok) return recognised.reply
      const { tenant } = recognised.operator
      return answer(now(), await inTransaction(pool, { tenant }, serviceStats))
    } catch (error) {
      log('error', 'the database does not answer', { error })
      return unhealthy(now())
    }
  }
}

function answer(now: Date, stats: ServiceStats | null): Reply {
  const body = { service: SERVICE, status: 'healthy', database: 'healthy', timestamp: now }
  return { status: 200, body: stats === null ? body : { ...body, stats } }
}

function unhealthy(now: Date): Reply {
  const body = { service: SERVICE, status: 'unhealthy', database: 'unhealthy', timestamp: now }
  return { status: 503, body, headers: { 'retry-after': '10' } }
}

const SERVICE = 'crystal-forge'
