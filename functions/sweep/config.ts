import type { AwsSettings } from '@crystal-forge/aws'
import { readAwsSettings } from '../aws-settings.ts'
import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { type RelayQueue, readRelayQueue } from '../relay-queue.ts'

export type Config = {
  readonly database: DatabaseConfig
  readonly aws: AwsSettings
  readonly cacheBucket: string
  /** After how long a queued job that nobody took is announced again. */
  readonly hintAgainS: number
  /** How many days before the end of a token somebody is told. */
  readonly expiryDays: number
  /** When the revocation list that was deployed for builders ends; undefined when there is none. */
  readonly revocationListEndsAt: Date | undefined
  /** Who is told that the outbox has something new. */
  readonly relayQueue: RelayQueue | undefined
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [
  ...DATABASE_VARIABLES,
  'CACHE_BUCKET',
  'HINT_AGAIN_S',
  'RELAY_QUEUE_URL',
  'EXPIRY_ALARM_DAYS',
  'REVOCATION_LIST_ENDS_AT',
] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    aws: readAwsSettings(reader),
    cacheBucket: reader.text('CACHE_BUCKET'),
    hintAgainS: reader.whole('HINT_AGAIN_S', { least: 1, most: 3600, otherwise: 60 }),
    expiryDays: reader.whole('EXPIRY_ALARM_DAYS', { least: 1, most: 90, otherwise: 14 }),
    revocationListEndsAt: reader.instant('REVOCATION_LIST_ENDS_AT'),
    relayQueue: readRelayQueue(reader),
  }
  reader.done()
  return config
}
