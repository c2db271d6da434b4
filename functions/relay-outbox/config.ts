import type { AwsSettings } from '@crystal-forge/aws'
import { readAwsSettings } from '../aws-settings.ts'
import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { JOB_QUEUE_VARIABLES, type JobQueues, readJobQueues } from '../job-queues.ts'

export type Config = {
  readonly database: DatabaseConfig
  readonly aws: AwsSettings
  readonly queues: JobQueues
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [...DATABASE_VARIABLES, ...JOB_QUEUE_VARIABLES] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    aws: readAwsSettings(reader),
    queues: readJobQueues(reader),
  }
  reader.done()
  return config
}
