import type { JobKind } from '@crystal-forge/protocol'
import type { EnvironmentReader } from './environment.ts'

/** URLs of the SQS queues, one for each kind of job. */
export type JobQueues = Readonly<Record<JobKind, string>>

export const JOB_QUEUE_VARIABLES = [
  'QUEUE_URL_RESOLVE',
  'QUEUE_URL_EVALUATE',
  'QUEUE_URL_BUILD',
  'QUEUE_URL_SCAN',
] as const

export function readJobQueues(environment: EnvironmentReader): JobQueues {
  return {
    resolve: environment.text('QUEUE_URL_RESOLVE'),
    evaluate: environment.text('QUEUE_URL_EVALUATE'),
    build: environment.text('QUEUE_URL_BUILD'),
    scan: environment.text('QUEUE_URL_SCAN'),
  }
}
