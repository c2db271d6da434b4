import { type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** Base64 of 32 bytes: seals hook secrets in the database. Shared with `webhooks`, which opens them. */
  readonly sealingKeyFile: string
}

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = { database: readDatabaseConfig(reader), sealingKeyFile: reader.text('SEALING_KEY_FILE') }
  reader.done()
  return config
}
