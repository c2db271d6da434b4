import type { AwsSettings } from '@crystal-forge/aws'
import { readAwsSettings } from '../aws-settings.ts'
import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { readSecretSource, type SecretSource } from '../secret-source.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** The public host of the control plane: what builders sign. */
  readonly authority: string
  readonly aws: AwsSettings
  readonly cacheBucket: string
  /** Nix's secret key format, `name:base64`. */
  readonly narinfoKey: SecretSource
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [
  ...DATABASE_VARIABLES,
  'PUBLIC_AUTHORITY',
  'CACHE_BUCKET',
  'NARINFO_KEY_SECRET_ARN',
] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    authority: reader.text('PUBLIC_AUTHORITY'),
    aws: readAwsSettings(reader),
    cacheBucket: reader.text('CACHE_BUCKET'),
    narinfoKey: readSecretSource(reader, 'NARINFO_KEY'),
  }
  reader.done()
  return config
}
