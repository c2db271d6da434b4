import { type Environment, EnvironmentReader } from '../environment.ts'
import { readSecretSource, type SecretSource } from '../secret-source.ts'

export type Config = {
  readonly host: string
  readonly port: number
  readonly database: string
  /** PEM bundle of the authorities that may vouch for the database. */
  readonly caFile: string
  /** JSON with `username` and `password` of the owner of the schema, as RDS keeps it. */
  readonly master: SecretSource
  readonly region: string
  /** Gets the first admin token when it has none. */
  readonly adminTokenSecretArn: string
  readonly tenant: string
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [
  'DATABASE_HOST',
  'DATABASE_PORT',
  'DATABASE_NAME',
  'DATABASE_CA_FILE',
  'DATABASE_MASTER_SECRET_ARN',
  'ADMIN_TOKEN_SECRET_ARN',
  'TENANT_NAME',
] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    host: reader.text('DATABASE_HOST'),
    port: reader.whole('DATABASE_PORT', { least: 1, most: 65_535, otherwise: 5432 }),
    database: reader.text('DATABASE_NAME'),
    caFile: reader.text('DATABASE_CA_FILE'),
    master: readSecretSource(reader, 'DATABASE_MASTER'),
    region: reader.text('AWS_REGION'),
    adminTokenSecretArn: reader.text('ADMIN_TOKEN_SECRET_ARN'),
    tenant: reader.text('TENANT_NAME'),
  }
  reader.done()
  return config
}
