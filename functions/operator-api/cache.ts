import { listCache } from '@crystal-forge/postgres'
import { type Context, type Endpoints, list } from '../operator-endpoint.ts'

/** Which closures lie in the binary cache. */
export function cacheEndpoints(context: Context): Endpoints {
  return { 'GET /v1/cache': list(context, {}, (database, _, page) => listCache(database, page)) }
}
