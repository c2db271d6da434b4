import type { VARIABLES } from '../../functions/builder-cache/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { cacheAccess, databaseAccess, type Platform, secretAccess } from '../platform.ts'

/** Signs and publishes narinfos: the only function that can read the key of the cache. */
export function builderCache(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_cache')
  const signing = secretAccess(platform, 'NARINFO_KEY_SECRET_ARN', 'narinfo-key')
  const cache = cacheAccess(platform)
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...signing.variables,
    ...cache.variables,
    PUBLIC_AUTHORITY: platform.network.address.authority,
  }
  return new LambdaFunction(platform, {
    name: 'builder-cache',
    variables,
    access: [database, signing, cache],
    memoryMib: 1024,
    waiting: 'caller',
  })
}
