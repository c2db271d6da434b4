import type { AwsSettings } from '@crystal-forge/aws'
import { readAwsSettings } from '../aws-settings.ts'
import { type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** The public host of the control plane: what builders sign. */
  readonly authority: string
  readonly aws: AwsSettings
  readonly cacheBucket: string
  /** Nix's secret key format, `name:base64`. */
  readonly narinfoKeyFile: string
}

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    authority: reader.text('PUBLIC_AUTHORITY'),
    aws: readAwsSettings(reader),
    cacheBucket: reader.text('CACHE_BUCKET'),
    narinfoKeyFile: reader.text('NARINFO_KEY_FILE'),
  }
  reader.done()
  return config
}
