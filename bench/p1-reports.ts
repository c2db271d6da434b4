import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, migrate, readDatabaseUrl, readMigrations } from '@crystal-forge/postgres'
import { generateKeyPair, keyId, renderPublicKey, signEd25519, signRequest } from '@crystal-forge/protocol'
import type pg from 'pg'
import { app } from '../functions/agent-reports/app.ts'
import { readConfig } from '../functions/agent-reports/config.ts'
import { ROUTES } from '../functions/routes.ts'
import { startEmbeddedPostgres } from '../server/src/embedded-postgres.ts'
import { createGateway } from '../server/src/gateway.ts'
import { postgresCpuMs } from './cpu-time.ts'
import { httpPost, quantile, runLoad } from './load.ts'
import type { LoadResult } from './load-worker.ts'
import type { Measured } from './measured.ts'
import { originalShapedServer, type RivalIndexes } from './original-shaped-server.ts'

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
        const order = { port: side.port, connections: CONNECTIONS, seconds: SECONDS }
        const requests = side.requests(round)
        const start = { server: process.cpuUsage(), postgresMs: postgresCpuMs(postgres.pid) }
        const result = await runLoad({ ...order, requests })
        const { user, system } = process.cpuUsage(start.server)
        const postgresMs = postgresCpuMs(postgres.pid) - start.postgresMs
        runs.get(side.name)?.push({ ...result, serverMs: (user + system) / 1000 - result.cpuMs, postgresMs })
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

/** One report of each host: what is done once for a key is not what is measured. */
async function warmUp(side: Side): Promise<number> {
  const requests = side.requests(ROUNDS, HOSTS)
  return acceptedIn(await runLoad({ port: side.port, connections: CONNECTIONS, seconds: 60, requests }))
}

type Side = {
  readonly name: string
  readonly port: number
  /** Signed before the clock starts, and no two alike. */
  requests(round: number, count?: number): readonly Uint8Array[]
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
    requests: (round, count) => eachReport({ round, count, hosts }, ourRequest),
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
    requests: (round, count) => eachReport({ round, count, hosts }, rivalRequest),
    stored: async () => (await admin.query(`select count(*)::int as n from ${schema}.state`)).rows[0].n,
    close: listening.close,
  }
}

type Host = { readonly hostname: string } & ReturnType<typeof generateKeyPair>

function eachReport(
  {
    round,
    count = REQUESTS_MAX,
    hosts,
  }: { round: number; count?: number | undefined; hosts: readonly Host[] },
  make: (host: Host, at: number) => Uint8Array,
): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, at) => {
    const host = hosts[at % hosts.length]
    if (host === undefined) throw new RangeError('no hosts')
    return make(host, round * REQUESTS_MAX + at)
  })
}

function ourRequest(host: Host, at: number): Uint8Array {
  const now = new Date()
  const { memory_mib, ...fingerprint } = machine(host.hostname)
  const report = {
    v: 1,
    kind: 'state',
    report_id: `bench-${String(at).padStart(16, '0')}`,
    hostname: host.hostname,
    collected_at: now.toISOString(),
    change_reason: 'config_change',
    store_path: storePath(at),
    booted_path: storePath(0),
    profile_path: storePath(at),
    generation: at,
    failed_units: [],
    agent_version: '0.3.0',
    fingerprint: { ...fingerprint, memory_bytes: memory_mib * 1024 * 1024 },
  }
  const body = Buffer.from(JSON.stringify(report))
  const request = {
    method: 'POST',
    authority: AUTHORITY,
    target: '/v1/agent/reports',
    body,
    now,
    validSeconds: 300,
  }
  const signer = { seed: host.seed, nonce: randomBytes(16).toString('base64url') }
  const headers = signRequest({ ...request, tag: 'crystal-forge-agent-v1', ...signer })
  return httpPost(request.target, { host: AUTHORITY, ...headers }, body)
}

function rivalRequest(host: Host, at: number): Uint8Array {
  const { memory_mib, ...fields } = machine(host.hostname)
  const report = {
    hostname: host.hostname,
    change_reason: 'config_change',
    timestamp: new Date().toISOString(),
    store_path: storePath(at),
    memory_gb: memory_mib,
    agent_version: '0.2.0',
    agent_compatible: true,
    partial_data: false,
    ...fields,
  }
  const body = Buffer.from(JSON.stringify(report))
  const signature = Buffer.from(signEd25519(body, host.seed)).toString('base64')
  return httpPost(
    '/agent/state',
    { host: AUTHORITY, 'x-key-id': host.hostname, 'x-signature': signature },
    body,
  )
}

/** The facts of a host, the same for both sides, of a real report's size. */
function machine(hostname: string) {
  return {
    os: '25.11 (Xantusia)',
    kernel: '6.12.58',
    nixos_version: '25.11.20261101.a5fd3ee',
    memory_mib: 32_048,
    cpu_cores: 16,
    cpu_brand: 'AMD EPYC 7313 16-Core Processor',
    cpu_microcode: 'microcode : 0xa0011d5',
    board_serial: `SN-${hostname}`,
    product_uuid: '4c4c4544-0044-3510-8051-b9c04f4e5632',
    rootfs_uuid: '6d0e0b1e-92d5-4c4a-8a57-4c1b3c5b1f53',
    chassis_serial: `CH-${hostname}`,
    bios_version: '2.14.1',
    network_interfaces: ['eno1', 'eno2', 'bond0'].map((name, at) => ({
      name,
      mac_address: `3c:ec:ef:00:00:0${at}`,
      ip_addresses: [`192.0.2.${at + 10}`, `2001:db8::${at + 10}`],
    })),
    primary_mac_address: '3c:ec:ef:00:00:00',
    primary_ip_address: '192.0.2.10',
    gateway_ip: '192.0.2.1',
    selinux_status: 'disabled',
    tpm_present: true,
    fips_mode: false,
  }
}

function storePath(at: number): string {
  return `/nix/store/${String(at).padStart(32, '0')}-nixos-system-host-25.11`
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

const AUTHORITY = 'api.cf.example.com'
const CONNECTIONS = 64
const HOSTS = 1000
/** States that are there already, as in P2: a fleet that reports has a history, and its size is what an index is for. */
const HISTORY = 20_000
const ROUNDS = 2
const SECONDS = 5
/** More than a round can use. */
const REQUESTS_MAX = 25_000
