import { randomUUID } from 'node:crypto'
import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { connect } from '@crystal-forge/postgres'
import { type Account, accountFor, makeOpenDirectory, reachableHome } from './account.ts'
import { enterShared, type SharedUse, withMachineLock } from './machine-lock.ts'
import { embeddedBinaries } from './postgres-binaries.ts'
import {
  initdb,
  livePostmaster,
  type Making,
  type Postmaster,
  runInSingleUser,
  runsOn,
  startPostmaster,
  stopPostmaster,
} from './postmaster.ts'
import { scramVerifier } from './scram-verifier.ts'

export type Access = 'trust' | { readonly passwordFile: string }

export type EmbeddedPostgresOptions = {
  /** A directory of our own; the cluster is kept in it, or below `systemDir` when Postgres could not reach it. */
  readonly dataDir: string
  /**
   * Who may connect. With a password file (one line of letters and digits that the caller keeps), everybody needs a
   * password, and the superuser's is the one in the file: at each start, whatever the cluster knew before. `trust` makes
   * everybody on this machine a superuser, for data that nobody will miss.
   */
  readonly access: Access
  /** For data that nobody will miss: fsync off, `initdb --no-sync`, the server ends with this process. */
  readonly ephemeral?: boolean
  /** Receives what Postgres and this wrapper say, a line at a time, without line ends. */
  readonly log?: (line: string) => void
  /** Directory with `initdb` and `postgres` of Postgres 18, in place of the installed package. */
  readonly binaries?: string
  /** Where root keeps what an unprivileged server must reach. Tests move it. */
  readonly systemDir?: string
  /** Where a copy of the binaries is kept when Postgres could not reach the installed ones. Tests move it. */
  readonly cacheDir?: string
}

export type EmbeddedPostgres = {
  /** `postgres://` URL of the maintenance database, as the superuser, without a password. */
  readonly url: string
  readonly host: string
  readonly port: number
  readonly user: string
  /** Where the cluster lies: `dataDir/cluster`, unless Postgres could not reach that. */
  readonly cluster: string
  /** Process id of the postmaster; another one after `revive`. */
  readonly pid: number
  isRunning(): Promise<boolean>
  /** Starts a server that died again, on the port it had. Resolves to the process id; does nothing to one that runs. */
  revive(): Promise<number>
  /**
   * Gives the server up. The last of several users of one data directory stops it (SIGINT, the fast and clean
   * shutdown) and the promise resolves when it is gone. Calling it twice is allowed.
   */
  stop(): Promise<void>
}

/**
 * Starts Postgres on a data directory, or joins the one that already runs there, and resolves when it accepts
 * connections on 127.0.0.1. A new directory is initialised first; one that was left by a crash recovers; a server that
 * outlived its parent is taken over. Several starts on one directory, in one process or many, share one server.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  await makeOpenDirectory(resolve(options.dataDir))
  const dataDir = await realpath(options.dataDir)
  return withMachineLock(`postgres:${dataDir}`, async () => {
    const use = await enterShared(join(dataDir, 'users'))
    try {
      return handle(dataDir, { first: await running(dataDir, options), use, options })
    } catch (error) {
      await use.leave()
      throw error
    }
  })
}

type Running = { readonly postmaster: Postmaster; readonly cluster: string }

async function running(
  dataDir: string,
  options: EmbeddedPostgresOptions,
  port?: number | undefined,
): Promise<Running> {
  const log = options.log ?? (() => {})
  const { access, ephemeral = false } = options
  const account = accountFor(process.getuid?.() ?? 0)
  const home = await reachableHome(dataDir, account, options.systemDir ?? SYSTEM_DIR)
  if (home !== dataDir)
    log(`${dataDir} cannot be reached by an unprivileged server; the cluster is in ${home}`)
  const cluster = join(home, 'cluster')

  const alive = await livePostmaster(cluster)
  if (alive && (await hasRules(cluster, access)) && (await admits(alive, access))) {
    log(`joined the Postgres that already runs on ${cluster} (process ${alive.pid}, port ${alive.port})`)
    return { postmaster: alive, cluster }
  }
  if (alive) await stopPostmaster(alive)
  const binaries = await embeddedBinaries({
    account,
    directory: options.binaries,
    cacheDir: options.cacheDir,
    log,
  })
  const making = { binaries, account, ephemeral }
  await initialise(cluster, access, making)
  await writeRules(cluster, access, account)
  const start = { ...making, cluster, port, log }
  const postmaster = await startPostmaster(start)
  if (await admits(postmaster, access)) return { postmaster, cluster }
  await stopPostmaster(postmaster)
  await setSuperuserPassword(cluster, access, making)
  return { postmaster: await startPostmaster(start), cluster }
}

/** A cluster appears under its name whole or not at all, so an interrupted initdb is never taken for data. */
async function initialise(cluster: string, access: Access, making: Making): Promise<void> {
  if (await exists(join(cluster, 'PG_VERSION'))) return refuseOtherMajor(cluster)
  await removeUnfinished(cluster)
  const fresh = `${cluster}.new-${randomUUID()}`
  await mkdir(fresh, { mode: 0o700 })
  await chmod(fresh, 0o700)
  await giveTo(making.account, fresh)
  const passwordFile = access === 'trust' ? undefined : `${fresh}-password`
  try {
    // The caller's own file may lie where the unprivileged initdb cannot go.
    if (passwordFile !== undefined) {
      await writeFile(passwordFile, `${await passwordOf(access)}\n`, { mode: 0o600, flag: 'wx' })
      await giveTo(making.account, passwordFile)
    }
    await initdb(fresh, { ...making, passwordFile })
  } finally {
    if (passwordFile !== undefined) await rm(passwordFile, { force: true })
  }
  await rename(fresh, cluster)
}

async function giveTo(account: Account, path: string): Promise<void> {
  if (account.switchTo) await chown(path, account.uid, account.gid)
}

/** The whole of pg_hba.conf: there is no socket, no replication and no other address. */
function rules(access: Access): string {
  const method = access === 'trust' ? 'trust' : 'scram-sha-256'
  return `# Written at each start; edits are lost.\nhost all all 127.0.0.1/32 ${method}\n`
}

async function hasRules(cluster: string, access: Access): Promise<boolean> {
  return (await readFile(join(cluster, 'pg_hba.conf'), 'utf8').catch(() => '')) === rules(access)
}

async function writeRules(cluster: string, access: Access, account: Account): Promise<void> {
  if (await hasRules(cluster, access)) return
  const fresh = join(cluster, 'pg_hba.conf.new')
  await writeFile(fresh, rules(access), { mode: 0o600 })
  await giveTo(account, fresh)
  await rename(fresh, join(cluster, 'pg_hba.conf'))
}

/** Whether the superuser gets in. A cluster that was made with `trust`, or with a lost password, refuses. */
async function admits({ port }: Postmaster, access: Access): Promise<boolean> {
  if (access === 'trust') return true
  const password = await passwordOf(access)
  const pool = connect({ host: HOST, port, database: 'postgres', user: SUPERUSER, password, max: 1 })
  try {
    await pool.query('select 1')
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === INVALID_PASSWORD) return false
    throw error
  } finally {
    await pool.end()
  }
}

/** Whoever owns the cluster's files may do this; nobody needs to know the old password. */
async function setSuperuserPassword(cluster: string, access: Access, making: Making): Promise<void> {
  const verifier = scramVerifier(await passwordOf(access))
  await runInSingleUser(cluster, `alter role ${SUPERUSER} password '${verifier}'`, making)
}

async function passwordOf(access: Access): Promise<string> {
  return access === 'trust' ? '' : (await readFile(access.passwordFile, 'utf8')).trim()
}

async function refuseOtherMajor(cluster: string): Promise<void> {
  const major = (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim()
  if (major === MAJOR) return
  throw new Error(
    `${cluster} was made by Postgres ${major} and this program carries Postgres ${MAJOR}: ` +
      'dump it with its own version and restore it into an empty data directory',
  )
}

async function removeUnfinished(cluster: string): Promise<void> {
  const parent = join(cluster, '..')
  for (const name of await readdir(parent)) {
    if (name.startsWith('cluster.new-')) await rm(join(parent, name), { recursive: true, force: true })
  }
}

type Held = {
  readonly first: Running
  readonly use: SharedUse
  readonly options: EmbeddedPostgresOptions
}

function handle(dataDir: string, { first, use, options }: Held): EmbeddedPostgres {
  const { cluster } = first
  const { port } = first.postmaster
  let { pid } = first.postmaster
  let stopped: Promise<void> | undefined
  const locked = <T>(work: () => Promise<T>): Promise<T> => withMachineLock(`postgres:${dataDir}`, work)
  const stop = async (): Promise<void> => {
    if (!(await use.leave())) return
    // Not simply the one that was started here: it may have died and have been replaced by another user.
    const current = await livePostmaster(cluster)
    if (current) await stopPostmaster(current)
  }
  return {
    url: `postgres://${SUPERUSER}@${HOST}:${port}/postgres`,
    host: HOST,
    port,
    user: SUPERUSER,
    cluster,
    get pid() {
      return pid
    },
    isRunning: () => runsOn(pid, cluster),
    revive: () =>
      locked(async () => {
        if (stopped !== undefined) throw new Error('this Postgres was stopped on purpose')
        pid = (await running(dataDir, options, port)).postmaster.pid
        return pid
      }),
    stop: () => {
      stopped ??= locked(stop)
      return stopped
    },
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

const HOST = '127.0.0.1'
/** SQLSTATE invalid_password. */
const INVALID_PASSWORD = '28P01'
const MAJOR = '18'
const SUPERUSER = 'postgres'
const SYSTEM_DIR = '/var/lib/crystal-forge'
