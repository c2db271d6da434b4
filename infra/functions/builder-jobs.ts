import type { VARIABLES } from '../../functions/builder-jobs/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, jobQueueVariables, type Platform, relayAccess, secretAccess } from '../platform.ts'

/** Hands out jobs and takes results. It names the queues and the bucket to builders, and reaches neither. */
export function builderJobs(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_builders')
  const signing = secretAccess(platform, 'JOB_SIGNING_KEY_SECRET_ARN', 'job-signing-key')
  const relay = relayAccess(platform)
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...signing.variables,
    ...relay.variables,
    ...jobQueueVariables(platform),
    PUBLIC_AUTHORITY: platform.network.address.authority,
    CACHE_BUCKET: platform.data.buckets.cache.bucketName,
    LEASE_S: String(platform.parameters.leaseS),
  }
  return new LambdaFunction(platform, {
    name: 'builder-jobs',
    variables,
    access: [database, signing, relay],
    memoryMib: 1024,
    waiting: 'caller',
  })
}
