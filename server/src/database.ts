import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '@crystal-forge/functions/log.ts'
import type { ConnectOptions, Database } from '@crystal-forge/postgres'
import type { ServerConfig } from './config.ts'
import { admitDashboards, admitOwner, ensureLoginRole, LOGIN_ROLE } from './database-login.ts'
import { startEmbeddedPostgres } from './embedded-postgres.ts'
import { writeSecretOnce } from './secret-files.ts'
import { supervisePostgres } from './supervise-postgres.ts'

/** The database of a server: how its owner connects, and what the functions are told. */
export type OpenDatabase = {
  /** Owns the schema and migrates it. */
  readonly owner: ConnectOptions
  /** Variables of `functions/database.ts`, but for the role, which is each function's own. */
  readonly functions: Readonly<Record<string, string>>
  /** Run by the owner after the migrations: who logs in for the functions may become their roles. */
  admitFunctions(owner: Database): Promise<void>
  /** Run by the owner once the tenant is known: dashboards may log in and see it. */
  admitDashboards(owner: Database, tenantId: string): Promise<void>
  /** For people, without a password. */
  readonly url: string
  stop(): Promise<void>
}

/** Starts the embedded Postgres and looks after it, or takes the one that the configuration names. */
export async function openServerDatabase(config: ServerConfig, log: Log): Promise<OpenDatabase> {
  return config.database.kind === 'embedded'
    ? embedded(config, config.database.binaries, log)
    : external(config.dataDir, config.database)
}

async function embedded(config: ServerConfig, binaries: string | undefined, log: Log): Promise<OpenDatabase> {
  const superuserFile = await ensurePassword(config.dataDir, 'database-superuser-password')
  const loginFile = await ensurePassword(config.dataDir, 'database-login-password')
  const dashboardsFile = await ensurePassword(config.dataDir, 'database-dashboards-password')
  const postgres = await startEmbeddedPostgres({
    dataDir: join(config.dataDir, 'postgres'),
    access: { passwordFile: superuserFile },
    ephemeral: config.ephemeral,
    ...(binaries === undefined ? {} : { binaries }),
    log: (line) => log('debug', line, { part: 'postgres' }),
  })
  const supervision = supervisePostgres(postgres, log)
  const { host, port, user } = postgres
  return {
    owner: { host, port, user, database: 'postgres', password: () => readPassword(superuserFile) },
    functions: {
      DATABASE_HOST: host,
      DATABASE_PORT: String(port),
      DATABASE_NAME: 'postgres',
      DATABASE_LOGIN: LOGIN_ROLE,
      DATABASE_AUTH: 'password-file',
      DATABASE_PASSWORD_FILE: loginFile,
    },
    admitFunctions: async (owner) => ensureLoginRole(owner, await readPassword(loginFile)),
    admitDashboards: async (owner, tenantId) =>
      admitDashboards(owner, tenantId, await readPassword(dashboardsFile)),
    url: postgres.url,
    stop: async () => {
      await supervision.stop()
      await postgres.stop()
    },
  }
}

async function external(
  dataDir: string,
  database: Extract<ServerConfig['database'], { kind: 'external' }>,
): Promise<OpenDatabase> {
  const { target } = database
  const ca = target.caFile === undefined ? undefined : await readFile(target.caFile, 'utf8')
  const passwordFile = database.passwordFile ?? (await keepPassword(dataDir, target.password))
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
      password: passwordFile === undefined ? undefined : () => readPassword(passwordFile),
      tls: target.tls === undefined ? undefined : { ...target.tls, ca },
    },
    functions: variables,
    admitFunctions: admitOwner,
    // Passwords there are the administrator's.
    admitDashboards: async () => {},
    url: `postgres://${target.user}@${target.host}:${target.port}/${target.database}`,
    stop: async () => {},
  }
}

/** A random password of our own, kept in the secrets directory. A new one is set in the database at the next start. */
async function ensurePassword(dataDir: string, name: string): Promise<string> {
  const path = join(await secretsDirectory(dataDir), name)
  await writeSecretOnce(path, randomBytes(32).toString('base64url'))
  if (!/^[A-Za-z0-9_-]{43}$/.test(await readPassword(path)))
    throw new Error(`${path} holds no password of ours (43 letters and digits); remove it to get a new one`)
  return path
}

/** The functions are told of files only; a password that came in a URL is put into one, readable by us alone. */
async function keepPassword(dataDir: string, password: string | undefined): Promise<string | undefined> {
  if (password === undefined) return undefined
  const path = join(await secretsDirectory(dataDir), 'database-password')
  await writeFile(path, `${password}\n`, { mode: 0o600 })
  return path
}

async function secretsDirectory(dataDir: string): Promise<string> {
  const directory = join(dataDir, 'secrets')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  return directory
}

async function readPassword(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).trim()
}
