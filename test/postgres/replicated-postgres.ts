import { appendFile, chmod, chown, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Pool } from '@crystal-forge/postgres'
import pg from 'pg'
import { type Account, accountFor } from '../../server/src/account.ts'
import { embeddedBinaries } from '../../server/src/postgres-binaries.ts'
import {
  type Postmaster,
  parsePidFile,
  startPostmaster,
  stopPostmaster,
} from '../../server/src/postmaster.ts'
import { type OwnPostgres, startOwnPostgres } from './own-postgres.ts'
import { startTcpRelay, type TcpRelay } from './tcp-relay.ts'

/** A primary and its synchronous standby behind one address, as RDS in two zones: what is committed is on both. */
export type ReplicatedPostgres = {
  /** Clients connect here, and reach the primary at first. */
  readonly address: TcpRelay
  readonly primary: OwnPostgres
  /** The superuser's pool on the standby. */
  readonly standby: Pool
  readonly standbyPort: number
  /** The standby becomes a primary; the address still leads where it led. */
  promote(): Promise<void>
  close(): Promise<void>
}

/** `fill` prepares the databases before the standby is made from a copy of the primary. */
export async function startReplicatedPostgres(
  fill: (primary: OwnPostgres) => Promise<void>,
): Promise<ReplicatedPostgres> {
  const primary = await startOwnPostgres({ durable: true })
  await fill(primary)
  const home = await mkdtemp(join(tmpdir(), 'cf-standby-'))
  await chmod(home, 0o755)
  const cluster = join(home, 'cluster')
  const postmaster = await copied(primary, cluster)
  // A standby only reads, which the pools of the product refuse.
  const standby = new pg.Pool({
    host: '127.0.0.1',
    port: postmaster.port,
    user: 'postgres',
    database: 'postgres',
    max: 1,
  })
  // Its connections are cut when the server stops, and an error that nobody hears ends the program.
  standby.on('error', () => {})
  await replicating(primary.admin)
  const address = await startTcpRelay(primary.port)
  return {
    address,
    primary,
    standby,
    standbyPort: postmaster.port,
    promote: async () => {
      await standby.query('select pg_promote(true)')
      // Nobody stands by for the new one.
      await standby.query(`alter system set synchronous_standby_names = ''`)
      await standby.query('select pg_reload_conf()')
    },
    close: async () => {
      await address.close()
      await standby.end()
      await stopPostmaster(postmaster)
      await primary.close()
      await rm(home, { recursive: true, force: true })
    },
  }
}

/** A copy of the files of a stopped server is the simplest base backup. */
async function copied(primary: OwnPostgres, cluster: string): Promise<Postmaster> {
  const account = accountFor(process.getuid?.() ?? 0)
  await stopPostmaster({ pid: primary.pid, port: primary.port })
  await cp(primary.cluster, cluster, { recursive: true, preserveTimestamps: true })
  await rm(join(cluster, 'postmaster.pid'), { force: true })
  await primary.revive()
  await appendFile(join(primary.cluster, 'pg_hba.conf'), 'host replication all 127.0.0.1/32 trust\n')
  await primary.admin.query('select pg_reload_conf()')
  await writeFile(join(cluster, 'standby.signal'), '')
  const upstream = `host=127.0.0.1 port=${primary.port} user=postgres application_name=standby`
  await appendFile(join(cluster, 'postgresql.auto.conf'), `primary_conninfo = '${upstream}'\n`)
  if (account.switchTo) await giveAll(cluster, account)
  await chmod(cluster, 0o700)
  return startStandby(cluster, account)
}

/** A standby says that it is ready in other words than a primary, for which `startPostmaster` goes on to wait. */
async function startStandby(cluster: string, account: Account): Promise<Postmaster> {
  const binaries = await embeddedBinaries({ account, log: () => {} })
  await new Promise<void>((ready, failed) => {
    const log = (line: string): void => {
      if (line.includes('ready to accept read-only connections')) ready()
    }
    startPostmaster({ binaries, account, cluster, ephemeral: true, port: undefined, log }).catch(failed)
  })
  const found = parsePidFile(await readFile(join(cluster, 'postmaster.pid'), 'utf8'))
  if (found === undefined) throw new Error('the standby has no process')
  return found
}

async function giveAll(directory: string, account: Account): Promise<void> {
  for (const name of ['.', ...(await readdir(directory, { recursive: true }))])
    await chown(join(directory, name), account.uid, account.gid)
}

/** From now on a commit waits until the standby has it. */
async function replicating(admin: Pool): Promise<void> {
  await admin.query(`alter system set synchronous_standby_names = 'standby'`)
  await admin.query('select pg_reload_conf()')
  const deadline = Date.now() + 30_000
  for (;;) {
    const { rows } = await admin.query(`select from pg_stat_replication where sync_state = 'sync'`)
    if (rows.length > 0) return
    if (Date.now() > deadline) throw new Error('the standby does not follow the primary')
    await new Promise((done) => setTimeout(done, 50))
  }
}
