import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rootCertificates } from 'node:tls'
import { rdsPassword } from '@crystal-forge/aws'
import { connect, MIGRATION_NAMES } from '@crystal-forge/postgres'
import type { EnvironmentReader } from './environment.ts'

/** The pool of a function; `end` closes it. */
export type Pool = ReturnType<typeof connect>

/** How a function reaches the database: one role per function, and in AWS no password at all. */
export type DatabaseConfig = {
  readonly host: string
  readonly port: number
  readonly database: string
  /** The function's own role. */
  readonly user: string
  /** Who logs in, when that is not the role itself; must be a member of it. */
  readonly login: string | undefined
  /** `iam`: a token of rds-signer at every connect. `trust`: a loopback database that asks for none. */
  readonly auth: 'iam' | 'password-file' | 'trust'
  readonly region: string | undefined
  readonly passwordFile: string | undefined
  /** PEM bundle of the authorities; TLS with the host name verified. Only this machine may be without. */
  readonly caFile: string | undefined
  readonly connectionsMax: number
  /** RDS Proxy is in between: a named statement would bind its connection to this instance. */
  readonly behindProxy: boolean
}

/** The variables of `DatabaseConfig`; `infra/` must give each function these names. */
export const DATABASE_VARIABLES = [
  'DATABASE_HOST',
  'DATABASE_PORT',
  'DATABASE_NAME',
  'DATABASE_USER',
  'DATABASE_AUTH',
  'DATABASE_CA_FILE',
  'DATABASE_PROXY',
] as const

export function readDatabaseConfig(environment: EnvironmentReader): DatabaseConfig {
  return {
    host: environment.text('DATABASE_HOST'),
    port: environment.whole('DATABASE_PORT', { least: 1, most: 65_535, otherwise: 5432 }),
    database: environment.text('DATABASE_NAME'),
    user: environment.text('DATABASE_USER'),
    login: environment.optional('DATABASE_LOGIN'),
    auth: environment.oneOf('DATABASE_AUTH', ['iam', 'password-file', 'trust'], 'iam'),
    region: environment.optional('AWS_REGION'),
    passwordFile: environment.optional('DATABASE_PASSWORD_FILE'),
    caFile: environment.optional('DATABASE_CA_FILE'),
    // One instance of a function handles one request at a time.
    connectionsMax: environment.whole('DATABASE_CONNECTIONS', { least: 1, most: 100, otherwise: 1 }),
    behindProxy: environment.oneOf('DATABASE_PROXY', ['0', '1'], '0') === '1',
  }
}

/**
 * Opens the pool; connects on first use.
 * @throws {Error} when a database that is neither on loopback nor behind a Unix socket would be reached without TLS.
 */
export function openDatabase(config: DatabaseConfig, applicationName: string): Pool {
  const local = config.host.startsWith('/') || ['127.0.0.1', '::1', 'localhost'].includes(config.host)
  if (config.caFile === undefined && !local)
    throw new Error(
      `DATABASE_CA_FILE is not set: ${config.host} is not this machine, so TLS must be verified`,
    )
  return connect({
    host: config.host,
    port: config.port,
    database: config.database,
    user: config.login ?? config.user,
    role: config.login === undefined ? undefined : config.user,
    password: password(config),
    tls:
      config.caFile === undefined
        ? undefined
        : { ca: authorities(config.caFile, config.behindProxy), servername: config.host },
    max: config.connectionsMax,
    applicationName,
    statementTimeoutMs: STATEMENT_MS,
    answerTimeoutMs: STATEMENT_MS + 2_000,
    namedStatements: !config.behindProxy,
    schema: MIGRATION_NAMES,
  })
}

/**
 * PEM of those who may vouch for the database. RDS Proxy shows a certificate of ACM instead of one of RDS, so behind it
 * Amazon's own roots count as well; those of other companies never do.
 */
export function authorities(file: string, behindProxy: boolean): string {
  const own = readFileSync(file, 'utf8')
  if (!behindProxy) return own
  const amazon = rootCertificates.filter((pem) => /^O=Amazon$/m.test(new X509Certificate(pem).subject))
  return [own, ...amazon].join('\n')
}

function password(config: DatabaseConfig): string | (() => Promise<string>) | undefined {
  switch (config.auth) {
    case 'trust':
      return undefined
    case 'iam':
      return rdsPassword({
        host: config.host,
        port: config.port,
        user: config.user,
        region: config.region ?? '',
      })
    case 'password-file':
      return async () => readFileSync(config.passwordFile ?? '', 'utf8').trim()
  }
}

/** The caller has waited long enough by then; API Gateway gives up after 30 s. */
const STATEMENT_MS = 20_000
