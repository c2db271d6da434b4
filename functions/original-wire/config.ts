import { type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = {
  readonly database: DatabaseConfig
}

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = { database: readDatabaseConfig(reader) }
  reader.done()
  return config
}
