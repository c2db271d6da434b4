import type { Duration } from 'aws-cdk-lib'
import { Metric } from 'aws-cdk-lib/aws-cloudwatch'
import type { FunctionName } from './capacity.ts'

/** What a function counts in its log (`functions/log.ts`); CloudWatch makes the metric from the line. */
export function ownMetric(
  { name }: { readonly name: string },
  program: FunctionName,
  { metricName, ...how }: { metricName: string; statistic: string; period?: Duration; label?: string },
): Metric {
  return new Metric({
    namespace: 'crystal-forge',
    metricName,
    dimensionsMap: { function: `${name}-${program}` },
    ...how,
  })
}
