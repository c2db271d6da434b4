import { Duration } from 'aws-cdk-lib'
import { Rule, Schedule } from 'aws-cdk-lib/aws-events'
import { LambdaFunction as Target } from 'aws-cdk-lib/aws-events-targets'
import type { LambdaFunction } from './lambda-function.ts'

/** The next minute is the retry: a run that failed is not repeated, and one that is late is dropped. */
export function everyMinute(made: LambdaFunction): void {
  const target = new Target(made.fn, { retryAttempts: 0, maxEventAge: Duration.minutes(1) })
  new Rule(made, 'EveryMinute', { schedule: Schedule.rate(Duration.minutes(1)), targets: [target] })
}
