import { Duration } from 'aws-cdk-lib'
import { Metric } from 'aws-cdk-lib/aws-cloudwatch'
import type { AlarmProps } from './alarms.ts'
import { ownMetric } from './own-metric.ts'
import type { Parameters } from './parameters.ts'

type One = Omit<AlarmProps, 'topic'>

/**
 * Alarms on what the sweep measures once a minute (`functions/sweep/watch.ts`). While it does not measure, they stay as
 * they are, and the one about the sweep itself rings. An installation without hosts, builders and jobs is quiet.
 */
export function watchAlarms(parameters: Parameters): Record<string, One> {
  return { ...standstill(parameters), ...endings(parameters), ...backups(parameters) }
}

function standstill(parameters: Parameters): Record<string, One> {
  const watched = watcher(parameters)
  const { alarmJobWaitingS, alarmBuildersSilent, alarmHostsSilentPercent } = parameters
  return {
    OutboxAge: {
      ...watched('outboxAgeS', 'Maximum'),
      says: `A message to builders has been due for more than ${OUTBOX_S} s.`,
      section: 'outbox-age',
      threshold: OUTBOX_S,
      periods: 2,
    },
    JobsWaiting: {
      ...watched('jobWaitingS', 'Maximum'),
      says: `A job that may run has waited for more than ${alarmJobWaitingS} s, and nobody took it.`,
      section: 'jobs-waiting',
      threshold: alarmJobWaitingS,
      periods: 2,
    },
    BuildersSilent: {
      ...watched('buildersSilent', 'Minimum'),
      says: `More than ${alarmBuildersSilent} of the builders have said nothing for 15 minutes.`,
      section: 'builders-silent',
      threshold: alarmBuildersSilent,
      periods: 2,
    },
    HostsSilent: {
      ...watched('hostsSilentPercent', 'Minimum'),
      says: `More than ${alarmHostsSilentPercent} % of the hosts have not reported for an hour.`,
      section: 'hosts-silent',
      threshold: alarmHostsSilentPercent,
      periods: 3,
    },
    NonceTables: {
      ...watched('nonceHoursAhead', 'Maximum'),
      says: `Tables for nonces exist for less than ${NONCE_HOURS} hours to come.`,
      section: 'nonce-tables',
      threshold: NONCE_HOURS,
      below: true,
    },
    SweepNotRunning: {
      ...watched('nonceHoursAhead', 'SampleCount'),
      says: 'The sweep has measured nothing for 15 minutes: what is due by time is not done, and other alarms are blind.',
      section: 'sweep-not-running',
      threshold: 1,
      below: true,
      periods: 3,
      unmeasured: 'rings',
    },
  }
}

/** What ends by a date. */
function endings(parameters: Parameters): Record<string, One> {
  const { alarmExpiryDays: days, alarmKeyAgeDays, certificateArn, builderCrlFile } = parameters
  const watched = watcher(parameters)
  const section = 'keys-and-certificates'
  return {
    TokensEnding: {
      ...watched('tokensEnding', 'Minimum'),
      says: `A token of an operator ends within ${days} days and has no successor.`,
      section,
      threshold: 0,
    },
    ...(alarmKeyAgeDays === undefined
      ? {}
      : {
          KeysOld: {
            ...watched('keyAgeDays', 'Minimum'),
            says: `A host or builder signs with a key that is older than ${alarmKeyAgeDays} days.`,
            section,
            threshold: alarmKeyAgeDays,
          },
        }),
    ...(builderCrlFile === undefined
      ? {}
      : {
          RevocationListEnding: {
            ...watched('revocationListDaysLeft', 'Maximum'),
            says: `The revocation list of builders ends within ${days} days.`,
            section,
            threshold: days,
            below: true,
          },
        }),
    ...(certificateArn === undefined
      ? {}
      : { DomainCertificateEnding: { ...ofDomain(certificateArn, days), section } }),
  }
}

/** ACM measures twice a day, and renews by itself long before this. */
function ofDomain(certificateArn: string, days: number): Omit<One, 'section'> {
  return {
    metric: new Metric({
      namespace: 'AWS/CertificateManager',
      metricName: 'DaysToExpiry',
      dimensionsMap: { CertificateArn: certificateArn },
      statistic: 'Minimum',
      period: Duration.days(1),
    }),
    says: `The certificate of the API ends within ${days} days and was not renewed.`,
    threshold: days,
    below: true,
    unmeasured: 'unchanged',
  }
}

/** Aurora has no archive of its log to fall behind with: its storage keeps the past itself, and no metric tells how much. */
function backups(parameters: Parameters): Record<string, One> {
  if (parameters.database === 'aurora') return {}
  return {
    BackupAge: {
      ...watcher(parameters)('backupAgeS', 'Minimum'),
      says: `A restore would lose more than ${BACKUP_S / 60} minutes: the database does not get its log to the archive, or keeps none.`,
      section: 'backup-age',
      threshold: BACKUP_S,
      periods: 3,
      // A database that was told to keep no archive measures nothing.
      unmeasured: 'rings',
    },
  }
}

function watcher(parameters: Parameters) {
  return (metricName: string, statistic: string): Pick<One, 'metric' | 'unmeasured'> => ({
    metric: ownMetric(parameters, 'sweep', { metricName, statistic, period: Duration.minutes(5) }),
    unmeasured: 'unchanged',
  })
}

/** The relay runs once a minute even when nobody wakes it. */
const OUTBOX_S = 300
/** Half of what the sweep makes ahead: a day to find out why it does not. */
const NONCE_HOURS = 24
/** RDS closes a part of the log after five minutes; three in a row did not arrive. */
const BACKUP_S = 900
