import type { AwsSettings } from '@crystal-forge/aws'
import { readAwsSettings } from '../aws-settings.ts'
import { type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = {
  readonly database: DatabaseConfig
  readonly aws: AwsSettings
  readonly cacheBucket: string
  /** After how long a queued job that nobody took is announced again. */
  readonly hintAgainS: number
}

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    aws: readAwsSettings(reader),
    cacheBucket: reader.text('CACHE_BUCKET'),
    hintAgainS: reader.whole('HINT_AGAIN_S', { least: 1, most: 3600, otherwise: 60 }),
  }
  reader.done()
  return config
}
