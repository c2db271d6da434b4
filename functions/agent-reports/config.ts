import { REPORT_EVERY_S_DEFAULT } from '@crystal-forge/control-plane'
import { DATABASE_VARIABLES, type DatabaseConfig, readDatabaseConfig } from '../database.ts'
import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = {
  readonly database: DatabaseConfig
  /** The public host of the control plane (`api.example.com`, with a port unless it is 443): what hosts sign. */
  readonly authority: string
  /** How many seconds hosts wait between reports. */
  readonly nextReportInS: number
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [...DATABASE_VARIABLES, 'PUBLIC_AUTHORITY', 'NEXT_REPORT_IN_S'] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    database: readDatabaseConfig(reader),
    authority: reader.text('PUBLIC_AUTHORITY'),
    nextReportInS: reader.whole('NEXT_REPORT_IN_S', {
      least: 1,
      most: 86_400,
      otherwise: REPORT_EVERY_S_DEFAULT,
    }),
  }
  reader.done()
  return config
}
