import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { migrate, readMigrations } from '@crystal-forge/postgres'
import pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { tokenDigest } from '../../functions/operator.ts'
import { AUTHORITY, databaseEnvironment, type FleetHost, makeTenant, post } from '../postgres/agent-fleet.ts'
import { type OwnPostgres, startOwnPostgres } from '../postgres/own-postgres.ts'
import { startReplicatedPostgres } from '../postgres/replicated-postgres.ts'
import { buildBundles, type Instance, startInstance } from './lambda.ts'
import { auditReports, startReportLoad } from './report-load.ts'

// The database goes away under a load of reports, in each way that RDS has, and the instances that were running go on.
let directory: string
let bundles: Awaited<ReturnType<typeof buildBundles>>
const closing: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-failover-'))
  bundles = await buildBundles()
  await writeFile(join(directory, 'seal.key'), randomBytes(32).toString('base64'))
}, 60_000)
afterAll(async () => {
  for (const close of closing.reverse()) await close()
  await bundles?.remove()
  await rm(directory, { recursive: true, force: true })
}, 60_000)

type Fleet = { readonly hosts: readonly FleetHost[]; readonly token: string }

/** A migrated database with hosts, and an operator. */
async function fill(postgres: OwnPostgres): Promise<Fleet> {
  await postgres.admin.query('create database cf')
  const database = superuser(postgres.port)
  try {
    const session = await database.connect()
    await migrate(session, await readMigrations(join(import.meta.dirname, '../../migrations')))
    session.release()
    await database.query('select turn_nonce_partitions()')
    const { tenant, hosts } = await makeTenant(database, 'acme', ['web-1', 'web-2', 'web-3'])
    const token = `cf_${randomBytes(32).toString('base64url')}`
    await database.query(
      `insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at)
       values ($1, 'test', 'operator', $2, 'test', now() + interval '1 day')`,
      [tenant, tokenDigest(token)],
    )
    return { hosts, token }
  } finally {
    await database.end()
  }
}

/** Without the care of the product's pools: a test looks at servers that only read as well. */
function superuser(port: number): pg.Pool {
  const pool = new pg.Pool({ host: '127.0.0.1', port, user: 'postgres', database: 'cf', max: 1 })
  pool.on('error', () => {})
  return pool
}

async function start(name: 'agent-reports' | 'operator-api', port: number): Promise<Instance> {
  const role = { 'agent-reports': 'cf_ingest', 'operator-api': 'cf_operators' }[name]
  const instance = await startInstance(bundles.file(name), {
    ...databaseEnvironment(`postgres://127.0.0.1:${port}/cf`, role),
    DATABASE_CONNECTIONS: '1',
    AWS_REGION: 'us-east-1',
    PUBLIC_AUTHORITY: AUTHORITY,
    SEALING_KEY_FILE: join(directory, 'seal.key'),
  })
  closing.push(() => instance.stop())
  return instance
}

async function loadOn(
  hosts: readonly FleetHost[],
  port: number,
): Promise<ReturnType<typeof startReportLoad>> {
  const pairs = hosts.map(async (host) => [host, await start('agent-reports', port)] as const)
  const load = startReportLoad(await Promise.all(pairs))
  // Before its instances are: a test that fails leaves nobody who sends to a process that ended.
  closing.push(load.stop)
  return load
}

test.each([
  ['restarted, as for a parameter or a minor version', 'SIGINT'],
  ['lost in the middle, as when its machine dies', 'SIGKILL'],
] as const)(
  'a database that is %s, and refuses connections for three seconds, loses no acknowledged report',
  async (_, signal) => {
    const postgres = await startOwnPostgres({ durable: true })
    closing.push(postgres.close)
    const { hosts } = await fill(postgres)
    const load = await loadOn(hosts, postgres.port)
    await load.more(5)

    process.kill(postgres.pid, signal)
    await vi.waitFor(async () => expect(await postgres.isRunning()).toBe(false), { timeout: 30_000 })
    // A server process outlives its parent by what it has in hand, and answers are on their way.
    await load.failing(1)
    const before = load.acknowledged.size
    await sleep(3000)
    await load.failing(5)
    expect(load.acknowledged.size).toBe(before)
    await postgres.revive()
    await load.more(5)

    const { unacknowledged } = await load.stop()
    const database = superuser(postgres.port)
    await auditReports(database, load, unacknowledged)
    await database.end()
    for (const failure of load.failures) expect(failure).toMatch(/^500 .*"code":"internal"/)
  },
  120_000,
)

test('a standby that takes over has every acknowledged report, and the instances find it by themselves', async () => {
  let fleet: Fleet | undefined
  const postgres = await startReplicatedPostgres(async (primary) => {
    fleet = await fill(primary)
  })
  closing.push(postgres.close)
  const load = await loadOn(fleet?.hosts ?? [], postgres.address.port)
  await load.more(5)

  process.kill(postgres.primary.pid, 'SIGKILL')
  await postgres.address.become('refuse')
  await sleep(1500)
  // The name leads to the standby before it is a primary.
  postgres.address.leadTo(postgres.standbyPort)
  await postgres.address.become('pass')
  await load.failing(1)
  const before = load.acknowledged.size
  await load.failing(10)
  expect(load.acknowledged.size).toBe(before)
  await postgres.promote()
  await load.more(5)

  const { unacknowledged } = await load.stop()
  const database = superuser(postgres.standbyPort)
  await auditReports(database, load, unacknowledged)
  await database.end()
}, 120_000)

test('a primary that becomes read-only and keeps its connections is left for the new one, by reports and by operators', async () => {
  let fleet: Fleet | undefined
  const postgres = await startReplicatedPostgres(async (primary) => {
    fleet = await fill(primary)
  })
  closing.push(postgres.close)
  const port = postgres.address.port
  const load = await loadOn(fleet?.hosts ?? [], port)
  const operators = await start('operator-api', port)
  const addFlake = async (name: string): Promise<number> => {
    const body = Buffer.from(JSON.stringify({ name, repo_url: 'https://git.example.com/ops/fleet' }))
    const event = post('/v1/flakes', { authorization: `Bearer ${fleet?.token}` }, body)
    return ((await operators.invoke(event)) as { statusCode: number }).statusCode
  }
  expect(await addFlake('before')).toBe(201)
  await load.more(5)

  const former = superuser(postgres.primary.port)
  await former.query('select 1')
  await postgres.primary.admin.query('alter system set default_transaction_read_only = on')
  await postgres.primary.admin.query('select pg_reload_conf()')
  await vi.waitFor(async () => expect(await addFlake('meanwhile')).toBe(500), { timeout: 20_000 })
  // Nobody holds on to a server that takes nothing.
  await vi.waitFor(
    async () => {
      const { rows } = await former.query(
        `select application_name from pg_stat_activity where application_name in ('agent-reports', 'operator-api')`,
      )
      expect(rows).toEqual([])
    },
    { timeout: 20_000, interval: 20 },
  )
  await former.end()
  postgres.address.leadTo(postgres.standbyPort)
  await postgres.promote()
  await load.more(5)
  expect(await addFlake('after')).toBe(201)

  const { unacknowledged } = await load.stop()
  const database = superuser(postgres.standbyPort)
  await auditReports(database, load, unacknowledged)
  expect((await database.query('select name from flake order by name')).rows).toEqual([
    { name: 'after' },
    { name: 'before' },
  ])
  await database.end()
}, 120_000)
