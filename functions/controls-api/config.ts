import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = { readonly database: DatabaseConfig }

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [...DATABASE_VARIABLES] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = { database: readDatabaseConfig(reader) }
  reader.done()
  return config
}
