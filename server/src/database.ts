import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '@crystal-forge/functions/log.ts'
import type { ConnectOptions } from '@crystal-forge/postgres'
import type { ServerConfig } from './config.ts'
import { startEmbeddedPostgres } from './embedded-postgres.ts'

/** The database of a server: how its owner connects, and what the functions are told. */
export type OpenDatabase = {
  /** Owns the schema and migrates it. */
  readonly owner: ConnectOptions
  /** Variables of `functions/database.ts`, but for the role, which is each function's own. */
  readonly functions: Readonly<Record<string, string>>
  /** For people, without a password. */
  readonly url: string
  stop(): Promise<void>
}

/** Starts the embedded Postgres, or takes the one that the configuration names. */
export async function openServerDatabase(config: ServerConfig, log: Log): Promise<OpenDatabase> {
  return config.database.kind === 'embedded'
    ? embedded(config, log)
    : external(config.dataDir, config.database)
}

async function embedded(config: ServerConfig, log: Log): Promise<OpenDatabase> {
  const postgres = await startEmbeddedPostgres({
    dataDir: join(config.dataDir, 'postgres'),
    ephemeral: config.ephemeral,
    log: (line) => log('debug', line, { part: 'postgres' }),
  })
  return {
    owner: { host: postgres.host, port: postgres.port, user: postgres.user, database: 'postgres' },
    functions: {
      DATABASE_HOST: postgres.host,
      DATABASE_PORT: String(postgres.port),
      DATABASE_NAME: 'postgres',
      DATABASE_AUTH: 'trust',
    },
    url: postgres.url,
    stop: () => postgres.stop(),
  }
}

async function external(
  dataDir: string,
  database: Extract<ServerConfig['database'], { kind: 'external' }>,
): Promise<OpenDatabase> {
  const { target } = database
  const ca = target.caFile === undefined ? undefined : await readFile(target.caFile, 'utf8')
  const passwordFile = database.passwordFile ?? (await keepPassword(dataDir, target.password))
  const password =
    passwordFile === undefined ? undefined : async () => (await readFile(passwordFile, 'utf8')).trim()
  const variables: Record<string, string> = {
    DATABASE_HOST: target.host,
    DATABASE_PORT: String(target.port),
    DATABASE_NAME: target.database,
    // Functions log in as the owner and become their own role, so that one credential is enough.
    DATABASE_LOGIN: target.user,
    DATABASE_AUTH: passwordFile === undefined ? 'trust' : 'password-file',
  }
  if (passwordFile !== undefined) variables['DATABASE_PASSWORD_FILE'] = passwordFile
  if (target.caFile !== undefined) variables['DATABASE_CA_FILE'] = target.caFile
  return {
    owner: {
      host: target.host,
      port: target.port,
      database: target.database,
      user: target.user,
      password,
      tls: target.tls === undefined ? undefined : { ...target.tls, ca },
    },
    functions: variables,
    url: `postgres://${target.user}@${target.host}:${target.port}/${target.database}`,
    stop: async () => {},
  }
}

/** The functions are told of files only; a password that came in a URL is put into one, readable by us alone. */
async function keepPassword(dataDir: string, password: string | undefined): Promise<string | undefined> {
  if (password === undefined) return undefined
  const directory = join(dataDir, 'secrets')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, 'database-password')
  await writeFile(path, `${password}\n`, { mode: 0o600 })
  return path
}
