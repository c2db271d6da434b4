import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, migrate, readDatabaseUrl, readMigrations } from '@crystal-forge/postgres'
import { generateKeyPair, keyId, renderPublicKey, renderSeed } from '@crystal-forge/protocol'
import type pg from 'pg'
import { app } from '../functions/agent-reports/app.ts'
import { readConfig } from '../functions/agent-reports/config.ts'
import { ROUTES } from '../functions/routes.ts'
import { startEmbeddedPostgres } from '../server/src/embedded-postgres.ts'
import { createGateway } from '../server/src/gateway.ts'
import { postgresCpuMs } from './cpu-time.ts'
import { quantile, runLoad } from './load.ts'
import type { LoadResult } from './load-process.ts'
import type { Measured } from './measured.ts'
import { originalShapedServer, type RivalIndexes } from './original-shaped-server.ts'
import { AUTHORITY, type BenchHost, storePath, type Wire } from './report-requests.ts'

/**
 * P1: signed state reports a second with a durable commit, over 64 connections, server and Postgres on this machine: the
 * product's gateway and handler against a handler shaped like the original's, once without the index that the original lacks
 * and once with it. The sides take turns, so that what else the machine does hits all of them.
 */
export async function measureReports(): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-bench-'))
  const postgres = await startEmbeddedPostgres({ dataDir: directory, access: 'trust' })
  const admin = connect({ ...readDatabaseUrl(postgres.url), max: 16 })
  try {
    const durability = await admin.query(
      "select current_setting('fsync') || '/' || current_setting('synchronous_commit') as is",
    )
    const sides = [
      await rival(admin, { name: 'original-shaped', indexes: 'as in the original' }),
      await ours(admin, postgres.url),
      await rival(admin, { name: 'original-shaped, index added', indexes: 'added' }),
    ]
    const runs = new Map(sides.map((side) => [side.name, [] as Run[]]))
    const before = new Map<string, number>()
    for (const side of sides) before.set(side.name, await warmUp(side))
    // Autovacuum would do it within a minute; without, every side plans for tables that it believes empty.
    await admin.query('vacuum analyze')
    for (let round = 0; round < ROUNDS; round++) {
      for (const side of sides) {
        runs.get(side.name)?.push(await measured(side, round, postgres.pid))
      }
    }
    const rows = []
    for (const side of sides) {
      rows.push(await summary(side, runs.get(side.name) ?? [], before.get(side.name) ?? 0))
    }
    await Promise.all(sides.map((side) => side.close()))
    return {
      settings: {
        connections: CONNECTIONS,
        hosts: HOSTS,
        history: HISTORY,
        durability: durability.rows[0].is,
      },
      rows,
      verdict: verdictOf(rows),
    }
  } finally {
    await admin.end()
    await postgres.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

/** A while of the same load: what is done once for a key, or by a compiler, is not what is measured. */
async function warmUp(side: Side): Promise<number> {
  const reports = { wire: side.wire, hosts: side.hosts, first: ROUNDS * REQUESTS_MAX, count: REQUESTS_MAX }
  const order = { port: side.port, connections: CONNECTIONS, seconds: WARM_UP_SECONDS, reports }
  return acceptedIn(await runLoad(order))
}

async function measured(side: Side, round: number, postmaster: number): Promise<Run> {
  const reports = { wire: side.wire, hosts: side.hosts, first: round * REQUESTS_MAX, count: REQUESTS_MAX }
  const before = { server: process.cpuUsage(), postgresMs: postgresCpuMs(postmaster) }
  const order = { port: side.port, connections: CONNECTIONS, seconds: SECONDS, reports }
  const result = await runLoad(order, () => {
    before.server = process.cpuUsage()
    before.postgresMs = postgresCpuMs(postmaster)
  })
  const { user, system } = process.cpuUsage(before.server)
  return {
    ...result,
    serverMs: (user + system) / 1000,
    postgresMs: postgresCpuMs(postmaster) - before.postgresMs,
  }
}

type Side = {
  readonly name: string
  readonly port: number
  readonly wire: Wire
  readonly hosts: readonly BenchHost[]
  /** How many reports the database holds. */
  stored(): Promise<number>
  close(): Promise<void>
}

async function ours(admin: pg.Pool, url: string): Promise<Side> {
  const session = await admin.connect()
  try {
    await migrate(session, await readMigrations(join(import.meta.dirname, '../migrations')))
  } finally {
    session.release()
  }
  const hosts = Array.from({ length: HOSTS }, (_, at) => ({ hostname: `host-${at}`, ...generateKeyPair() }))
  await admin.query(
    `with t as (insert into tenant (name) values ('bench') returning id),
          h as (select * from unnest($1::text[], $2::text[], $3::bytea[]) as h(hostname, key_id, public_key)),
          s as (insert into system (tenant_id, hostname) select t.id, h.hostname from t, h returning id, tenant_id, hostname)
     insert into system_key (key_id, tenant_id, system_id, hostname, public_key)
     select h.key_id, s.tenant_id, s.id, s.hostname, h.public_key from s join h using (hostname)`,
    [
      hosts.map((host) => host.hostname),
      hosts.map((host) => keyId(host.publicKey)),
      hosts.map((host) => host.publicKey),
    ],
  )
  await admin.query(
    `insert into system_state (tenant_id, system_id, report_id, digest, change_reason, current_path, facts, assurance,
                               evidence_sha256, collected_at, received_at)
     select s.tenant_id, s.id, 'history-' || n, sha256(n::text::bytea), 'startup', $1, '{}', 'rfc9421',
            sha256(n::text::bytea), now() - n * interval '1 hour', now() - n * interval '1 hour'
     from system s, generate_series(1, $2::int) n`,
    [storePath(0), HISTORY / HOSTS],
  )
  const { hostname: host, port, pathname } = new URL(url)
  const database = { DATABASE_HOST: host, DATABASE_PORT: port, DATABASE_NAME: pathname.slice(1) }
  const role = { DATABASE_USER: 'cf_ingest', DATABASE_AUTH: 'trust', DATABASE_CONNECTIONS: '8' }
  const config = readConfig({ ...database, ...role, PUBLIC_AUTHORITY: AUTHORITY })
  const reports = app(config, { log: (_, message, fields) => console.error(message, fields) })
  const server = createGateway({
    routes: ROUTES,
    handler: () => reports.handler,
    log: () => {},
    afterAnswer: () => {},
  })
  const listening = await listen(server)
  return {
    name: 'crystal-forge',
    port: listening.port,
    wire: 'ours',
    hosts: hosts.map(travelling),
    stored: async () => (await admin.query('select count(*)::int as n from system_state')).rows[0].n,
    close: async () => {
      await listening.close()
      await reports.close()
    },
  }
}

async function rival(
  admin: pg.Pool,
  { name, indexes }: { name: string; indexes: RivalIndexes },
): Promise<Side> {
  const schema = `rival_${indexes === 'added' ? 'indexed' : 'plain'}`
  const listening = await listen(await originalShapedServer(admin, { schema, indexes }))
  const hosts = Array.from({ length: HOSTS }, (_, at) => ({ hostname: `host-${at}`, ...generateKeyPair() }))
  await admin.query(
    `insert into ${schema}.system (hostname, public_key) select * from unnest($1::text[], $2::text[])`,
    [hosts.map((host) => host.hostname), hosts.map((host) => renderPublicKey(host.publicKey))],
  )
  await admin.query(
    `insert into ${schema}.state (hostname, change_reason, store_path, context, timestamp)
     select s.hostname, 'startup', $1, '{}', now() - n * interval '1 hour'
     from ${schema}.system s, generate_series(1, $2::int) n`,
    [storePath(0), HISTORY / HOSTS],
  )
  return {
    name,
    port: listening.port,
    wire: 'original',
    hosts: hosts.map(travelling),
    stored: async () => (await admin.query(`select count(*)::int as n from ${schema}.state`)).rows[0].n,
    close: listening.close,
  }
}

function travelling({
  hostname,
  seed,
}: { hostname: string } & ReturnType<typeof generateKeyPair>): BenchHost {
  return { hostname, seed: renderSeed(seed) }
}

async function listen(server: Server): Promise<{ readonly port: number; close(): Promise<void> }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A run with the processor time that it cost: how busy the machine is otherwise does not change it much. */
type Run = LoadResult & { readonly serverMs: number; readonly postgresMs: number }

type Row = Measured['rows'][number]

async function summary(side: Side, runs: readonly Run[], warm: number): Promise<Row> {
  const latencies = runs.flatMap((run) => [...run.latencies])
  const accepted = sumOf(runs, acceptedIn)
  const seconds = sumOf(runs, (run) => run.elapsedMs) / 1000
  return {
    side: side.name,
    'reports/s': Math.round(accepted / seconds),
    'each run': runs.map((run) => Math.round((1000 * run.latencies.length) / run.elapsedMs)).join(' '),
    'p50 ms': Number(quantile(latencies, 0.5).toFixed(1)),
    'p99 ms': Number(quantile(latencies, 0.99).toFixed(1)),
    'CPU us each: server': Math.round((1000 * sumOf(runs, (run) => run.serverMs)) / accepted),
    'CPU us each: postgres': Math.round((1000 * sumOf(runs, (run) => run.postgresMs)) / accepted),
    accepted,
    refused: latencies.length - accepted,
    lost: HISTORY + warm + accepted - (await side.stored()),
  }
}

function sumOf(runs: readonly Run[], of: (run: Run) => number): number {
  return runs.reduce((sum, run) => sum + of(run), 0)
}

function acceptedIn({ statuses }: LoadResult): number {
  return (statuses['200'] ?? 0) + (statuses['202'] ?? 0)
}

function verdictOf(rows: readonly Row[]): string {
  const rate = (at: number): number => Number(rows[at]?.['reports/s'])
  const ratio = (at: number): string => (rate(1) / rate(at)).toFixed(1)
  return `${ratio(0)} times the original's shape (${ratio(2)} times with the missing index added); to reach: 4, p99 at most 50 ms, 0 lost`
}

const CONNECTIONS = 64
const HOSTS = 1000
/** States that are there already, as in P2: a fleet that reports has a history, and its size is what an index is for. */
const HISTORY = 20_000
const ROUNDS = 3
const SECONDS = 5
const WARM_UP_SECONDS = 10
/** More than a round can use. */
const REQUESTS_MAX = 25_000
