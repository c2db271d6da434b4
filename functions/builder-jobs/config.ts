import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { JOB_QUEUE_VARIABLES, type JobQueues, readJobQueues } from '../job-queues.ts'
import { type RelayQueue, readRelayQueue } from '../relay-queue.ts'
import { readSecretSource, type SecretSource } from '../secret-source.ts'

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
  readonly jobSigningKey: SecretSource
  /** Who is told that the outbox has something new. */
  readonly relayQueue: RelayQueue | undefined
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [
  ...DATABASE_VARIABLES,
  ...JOB_QUEUE_VARIABLES,
  'PUBLIC_AUTHORITY',
  'CACHE_BUCKET',
  'LEASE_S',
  'JOB_SIGNING_KEY_SECRET_ARN',
  'RELAY_QUEUE_URL',
] as const

/**
 * How often a hint is handed out before its queue puts it aside, here and in AWS. A builder deletes what it cannot use,
 * so only a control plane that does not answer for minutes makes it come back: less than this would ring for every outage.
 */
export const HINT_RECEIVES_MAX = 10

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
    jobSigningKey: readSecretSource(reader, 'JOB_SIGNING_KEY'),
    relayQueue: readRelayQueue(reader),
  }
  reader.done()
  return config
}
