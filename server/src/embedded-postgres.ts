import { randomUUID } from 'node:crypto'
import { chmod, chown, mkdir, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Account, accountFor, makeOpenDirectory, reachableHome } from './account.ts'
import { enterShared, type SharedUse, withMachineLock } from './machine-lock.ts'
import { type Binaries, embeddedBinaries } from './postgres-binaries.ts'
import { initdb, livePostmaster, type Postmaster, startPostmaster, stopPostmaster } from './postmaster.ts'

export type EmbeddedPostgresOptions = {
  /** A directory of our own; the cluster is kept in it, or below `systemDir` when Postgres could not reach it. */
  readonly dataDir: string
  /** For data that nobody will miss: fsync off, `initdb --no-sync`, the server ends with this process. */
  readonly ephemeral?: boolean
  /** Receives what Postgres and this wrapper say, a line at a time, without line ends. */
  readonly log?: (line: string) => void
  /** Where root keeps what an unprivileged server must reach. Tests move it. */
  readonly systemDir?: string
  /** Where a copy of the binaries is kept when Postgres could not reach the installed ones. Tests move it. */
  readonly cacheDir?: string
}

export type EmbeddedPostgres = {
  /** `postgres://` URL of the maintenance database, as the superuser. */
  readonly url: string
  readonly host: string
  readonly port: number
  readonly user: string
  /** Where the cluster lies: `dataDir/cluster`, unless Postgres could not reach that. */
  readonly cluster: string
  /** Process id of the postmaster. */
  readonly pid: number
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
 *
 * Connections are trusted: whoever can open a loopback connection on this machine is a superuser. A machine with
 * other users on it wants a Postgres of its own and a `DATABASE_URL`.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  await makeOpenDirectory(resolve(options.dataDir))
  const dataDir = await realpath(options.dataDir)
  return withMachineLock(`postgres:${dataDir}`, async () => {
    const use = await enterShared(join(dataDir, 'users'))
    try {
      return handle(dataDir, await running(dataDir, options), use)
    } catch (error) {
      await use.leave()
      throw error
    }
  })
}

type Running = { readonly postmaster: Postmaster; readonly cluster: string }

async function running(dataDir: string, options: EmbeddedPostgresOptions): Promise<Running> {
  const log = options.log ?? (() => {})
  const account = accountFor(process.getuid?.() ?? 0)
  const home = await reachableHome(dataDir, account, options.systemDir ?? SYSTEM_DIR)
  if (home !== dataDir)
    log(`${dataDir} cannot be reached by an unprivileged server; the cluster is in ${home}`)
  const cluster = join(home, 'cluster')

  const alive = await livePostmaster(cluster)
  if (alive) {
    log(`joined the Postgres that already runs on ${cluster} (process ${alive.pid}, port ${alive.port})`)
    return { postmaster: alive, cluster }
  }
  const binaries = await embeddedBinaries({ account, cacheDir: options.cacheDir, log })
  const ephemeral = options.ephemeral ?? false
  await initialise(cluster, { binaries, account, ephemeral })
  return { postmaster: await startPostmaster({ binaries, account, cluster, ephemeral, log }), cluster }
}

type Making = { readonly binaries: Binaries; readonly account: Account; readonly ephemeral: boolean }

/** A cluster appears under its name whole or not at all, so an interrupted initdb is never taken for data. */
async function initialise(cluster: string, making: Making): Promise<void> {
  if (await exists(join(cluster, 'PG_VERSION'))) return refuseOtherMajor(cluster)
  await removeUnfinished(cluster)
  const fresh = `${cluster}.new-${randomUUID()}`
  await mkdir(fresh, { mode: 0o700 })
  await chmod(fresh, 0o700)
  if (making.account.switchTo) await chown(fresh, making.account.uid, making.account.gid)
  await initdb(fresh, making)
  await rename(fresh, cluster)
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

function handle(dataDir: string, { postmaster, cluster }: Running, use: SharedUse): EmbeddedPostgres {
  const { port, pid } = postmaster
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> =>
    withMachineLock(`postgres:${dataDir}`, async () => {
      if (!(await use.leave())) return
      // Not simply the one that was started here: it may have died and have been replaced by another user.
      const current = await livePostmaster(cluster)
      if (current) await stopPostmaster(current)
    })
  return {
    url: `postgres://${SUPERUSER}@${HOST}:${port}/postgres`,
    host: HOST,
    port,
    user: SUPERUSER,
    cluster,
    pid,
    stop: () => {
      stopped ??= stop()
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
const MAJOR = '18'
const SUPERUSER = 'postgres'
const SYSTEM_DIR = '/var/lib/crystal-forge'
