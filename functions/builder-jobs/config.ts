import { type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { type JobQueues, readJobQueues } from '../job-queues.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** The public host of the control plane: what builders sign. */
  readonly authority: string
  readonly queues: JobQueues
  readonly cacheBucket: string
  readonly region: string
  /** How long a builder may be silent before its job is given to another one. */
  readonly leaseS: number
  /** Base64 of the 32-byte seed that signs job documents. */
  readonly jobSigningKeyFile: string
}

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    authority: reader.text('PUBLIC_AUTHORITY'),
    queues: readJobQueues(reader),
    cacheBucket: reader.text('CACHE_BUCKET'),
    region: reader.text('AWS_REGION'),
    leaseS: reader.whole('LEASE_S', { least: 2, most: 3600, otherwise: 60 }),
    jobSigningKeyFile: reader.text('JOB_SIGNING_KEY_FILE'),
  }
  reader.done()
  return config
}
