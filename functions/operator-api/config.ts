import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { DEAD_LETTER_VARIABLES, type DeadLetterQueues, readDeadLetterQueues } from '../dead-letter-queues.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { type RelayQueue, readRelayQueue } from '../relay-queue.ts'
import { readSecretSource, type SecretSource } from '../secret-source.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** Base64 of 32 bytes: seals hook secrets in the database. Shared with `webhooks`, which opens them. */
  readonly sealingKey: SecretSource
  /** Who is told that the outbox has something new. */
  readonly relayQueue: RelayQueue | undefined
  /** Read, emptied and given back to their sources by operators. */
  readonly deadLetters: DeadLetterQueues | undefined
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [
  ...DATABASE_VARIABLES,
  'SEALING_KEY_SECRET_ARN',
  'RELAY_QUEUE_URL',
  ...DEAD_LETTER_VARIABLES,
] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    sealingKey: readSecretSource(reader, 'SEALING_KEY'),
    relayQueue: readRelayQueue(reader),
    deadLetters: readDeadLetterQueues(reader),
  }
  reader.done()
  return config
}
