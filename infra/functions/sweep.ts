import { Duration } from 'aws-cdk-lib'
import type { VARIABLES } from '../../functions/sweep/config.ts'
import { alarm } from '../alarms.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { ownMetric } from '../own-metric.ts'
import { cacheAccess, databaseAccess, type Platform, relayAccess } from '../platform.ts'
import { everyMinute } from '../schedule.ts'

/** What is due by time: leases, polls, hints that nobody took, narinfos that a commit did not come to write. */
export function sweep(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_scheduler')
  const cache = cacheAccess(platform)
  const relay = relayAccess(platform)
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...cache.variables,
    ...relay.variables,
    HINT_AGAIN_S: '60',
    EXPIRY_ALARM_DAYS: String(platform.parameters.alarmExpiryDays),
    REVOCATION_LIST_ENDS_AT: platform.revocationListEndsAt?.toISOString() ?? 'none',
  }
  const made = new LambdaFunction(platform, {
    name: 'sweep',
    variables,
    access: [database, cache, relay],
    memoryMib: 512,
    waiting: 'nobody',
  })
  everyMinute(made)
  alarm(made, 'FailedAlarm', {
    topic: platform.data.alarms,
    says: 'A piece of the sweep fails for a tenant: leases, polls or narinfos are late.',
    section: 'sweep-failed',
    metric: ownMetric(platform.parameters, 'sweep', {
      metricName: 'failed',
      statistic: 'Sum',
      period: Duration.minutes(5),
    }),
    threshold: 0,
    periods: 2,
  })
  return made
}
