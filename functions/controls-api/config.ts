import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'
import { readSecretSource, type SecretSource } from '../secret-source.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** Base64 of the 32-byte seed that signs manifests of exports. No other function has it. */
  readonly exportSigningKey: SecretSource
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [...DATABASE_VARIABLES, 'EXPORT_SIGNING_KEY_SECRET_ARN'] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    exportSigningKey: readSecretSource(reader, 'EXPORT_SIGNING_KEY'),
  }
  reader.done()
  return config
}
