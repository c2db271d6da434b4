import { Alarm, ComparisonOperator, type IMetric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import type { Construct } from 'constructs'

/** Sections of `docs/runbook.md`: every alarm names the one that says what to do. */
export const RUNBOOK_SECTIONS = [
  'function-errors',
  'function-throttles',
  'dead-letters',
  'queue-age',
  'relay-refused',
  'sweep-failed',
  'sweep-not-running',
  'api-5xx',
  'api-latency',
  'database-cpu',
  'database-storage',
  'database-memory',
  'database-connections',
  'outbox-age',
  'jobs-waiting',
  'builders-silent',
  'hosts-silent',
  'nonce-tables',
  'backup-age',
  'keys-and-certificates',
  'budget',
] as const
export type RunbookSection = (typeof RUNBOOK_SECTIONS)[number]

export type AlarmProps = {
  readonly topic: ITopic
  /** What it means when it rings, as a sentence. */
  readonly says: string
  readonly section: RunbookSection
  readonly metric: IMetric
  /** Rings when the metric is above (or, with `below`, below) it. */
  readonly threshold: number
  readonly below?: boolean
  /** How many periods in a row; one unless told. */
  readonly periods?: number
  /**
   * What it means when nothing is measured. `quiet`, unless told: nothing ran, so nothing failed. `unchanged`: nobody
   * looked, so what was last seen still holds. `rings`: that nothing is measured is itself the trouble.
   */
  readonly unmeasured?: keyof typeof UNMEASURED
}

/** Tells the topic when it rings and when it is over. */
export function alarm(scope: Construct, id: string, props: AlarmProps): Alarm {
  const { topic, says, section, metric, threshold, below = false, periods = 1, unmeasured = 'quiet' } = props
  const made = new Alarm(scope, id, {
    metric,
    threshold,
    evaluationPeriods: periods,
    comparisonOperator: below
      ? ComparisonOperator.LESS_THAN_THRESHOLD
      : ComparisonOperator.GREATER_THAN_THRESHOLD,
    treatMissingData: UNMEASURED[unmeasured],
    alarmDescription: `${says} Runbook: docs/runbook.md#${section}`,
  })
  const tell = new SnsAction(topic)
  made.addAlarmAction(tell)
  made.addOkAction(tell)
  return made
}

const UNMEASURED = {
  quiet: TreatMissingData.NOT_BREACHING,
  unchanged: TreatMissingData.IGNORE,
  rings: TreatMissingData.BREACHING,
} as const
