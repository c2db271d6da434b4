import type { AwsSettings } from '@crystal-forge/aws'
import { readAwsSettings } from './aws-settings.ts'
import type { EnvironmentReader } from './environment.ts'
import { JOB_QUEUE_VARIABLES, type JobQueues, readJobQueues } from './job-queues.ts'

/** Where messages end that were handed out again and again and never deleted, and the queues they came from. */
export type DeadLetterQueues = {
  readonly aws: AwsSettings
  readonly dead: JobQueues
  readonly sources: JobQueues
}

/** Either all of these are set or no `DLQ_URL_` at all. */
export const DEAD_LETTER_VARIABLES = [
  'DLQ_URL_RESOLVE',
  'DLQ_URL_EVALUATE',
  'DLQ_URL_BUILD',
  'DLQ_URL_SCAN',
  ...JOB_QUEUE_VARIABLES,
] as const

export function readDeadLetterQueues(environment: EnvironmentReader): DeadLetterQueues | undefined {
  const names = DEAD_LETTER_VARIABLES.filter((name) => name.startsWith('DLQ_'))
  if (names.every((name) => environment.optional(name) === undefined)) return undefined
  return {
    aws: readAwsSettings(environment),
    sources: readJobQueues(environment),
    dead: {
      resolve: environment.text('DLQ_URL_RESOLVE'),
      evaluate: environment.text('DLQ_URL_EVALUATE'),
      build: environment.text('DLQ_URL_BUILD'),
      scan: environment.text('DLQ_URL_SCAN'),
    },
  }
}
