import { createHash } from 'node:crypto'
import { chmod, chown, copyFile, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { app as agentReports } from '@crystal-forge/functions/agent-reports/app.ts'
import { readConfig } from '@crystal-forge/functions/agent-reports/config.ts'
import {
  checkSchema,
  connect,
  migrate,
  type Pool,
  readDatabaseUrl,
  readMigrations,
} from '@crystal-forge/postgres'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../server/src/embedded-postgres.ts'
import {
  AUTHORITY,
  call,
  databaseEnvironment,
  type FleetHost,
  makeTenant,
  signedPost,
  stateBody,
} from '../test/postgres/agent-fleet.ts'

// `npm run drill [-- --hosts N]`: takes a backup of a database while hosts report, loses the database, restores it on
// another directory and holds the two against each other. `npm run drill -- verify` does the last step alone, on the
// database that DATABASE_URL names, such as one that RDS restored.
async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      hosts: { type: 'string', default: '100' },
      tenant: { type: 'string', multiple: true, default: [] },
    },
  })
  const [command] = positionals
  if (command === 'verify') return verifyAlone(process.env['DATABASE_URL'], values.tenant)
  if (command !== undefined || !/^[1-9][0-9]{0,4}$/.test(values.hosts)) {
    console.error(
      'usage: npm run drill [-- --hosts N] | DATABASE_URL=... npm run drill -- verify [--tenant ID ...]',
    )
    return 2
  }
  return rehearse(Number(values.hosts))
}

type Timed = { readonly step: string; readonly seconds: string; readonly remark: string }

async function rehearse(hosts: number): Promise<number> {
  const root = await mkdtemp(join(tmpdir(), 'cf-drill-'))
  await chmod(root, 0o755)
  const steps: Timed[] = []
  const timed = async <T>(step: string, work: () => Promise<T>, remark: (done: T) => string): Promise<T> => {
    const begun = performance.now()
    const done = await work()
    const seconds = ((performance.now() - begun) / 1000).toFixed(2)
    steps.push({ step, seconds, remark: remark(done) })
    return done
  }
  try {
    const first = await startEmbeddedPostgres({ dataDir: join(root, 'first'), access: 'trust' })
    const fleet = await timed(
      'a fleet reports',
      () => fill(first.url, hosts),
      () => `${hosts} hosts`,
    )
    const backup = await timed(
      'backup, while hosts go on reporting',
      () => backUp(first, { to: join(root, 'backup'), meanwhile: () => reportAll(first.url, fleet) }),
      ({ bytes }) => `${(bytes / 1e6).toFixed(1)} MB`,
    )
    const before = await withPool(first.url, inspect)
    await copyTree(join(first.cluster, 'pg_wal'), join(backup.directory, 'pg_wal'))
    await timed(
      'the database is lost',
      async () => {
        await first.stop()
        await rm(first.cluster, { recursive: true })
      },
      () => '',
    )
    const second = await timed(
      'restore and recovery',
      async () => {
        await mkdir(join(root, 'second'), { mode: 0o755 })
        await copyTree(backup.directory, join(root, 'second', 'cluster'))
        return startEmbeddedPostgres({ dataDir: join(root, 'second'), access: 'trust' })
      },
      () => 'accepts connections',
    )
    try {
      const after = await timed(
        'verification',
        () => withPool(second.url, inspect),
        ({ events }) => `${events} audit events hashed again`,
      )
      await timed(
        'the fleet goes on',
        () => reportAll(second.url, fleet),
        (sent) => `${sent} reports accepted`,
      )
      return report(steps, { before, after })
    } finally {
      await second.stop()
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

function report(steps: readonly Timed[], { before, after }: { before: Inspected; after: Inspected }): number {
  console.table(steps)
  const faults = [...after.faults, ...differences(before.rows, after.rows)]
  for (const fault of faults) console.error(`drill: ${fault}`)
  const total = Object.values(after.rows).reduce((sum, rows) => sum + rows, 0)
  console.log(JSON.stringify({ steps, rows: total, events: after.events, faults }))
  if (faults.length === 0)
    console.log(`restored: ${total} rows in ${Object.keys(after.rows).length} tables, none missing`)
  return faults.length === 0 ? 0 : 1
}

function differences(before: Rows, after: Rows): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((table) => before[table] !== after[table])
    .map((table) => `${table} had ${before[table] ?? 0} rows and has ${after[table] ?? 0}`)
}

async function verifyAlone(url: string | undefined, tenants: readonly string[]): Promise<number> {
  if (url === undefined) {
    console.error('drill: DATABASE_URL is not set: the owner of the restored database, as postgres://')
    return 2
  }
  return withPool(url, async (pool) => {
    if (tenants.length === 0 && !(await passesPolicies(pool))) {
      console.error('drill: this role sees the rows of one tenant at a time: name them with --tenant')
      return 2
    }
    let faulty = 0
    for (const tenant of tenants.length === 0 ? [undefined] : tenants) {
      await pool.query(`select set_config('cf.tenant', $1, false)`, [tenant ?? ''])
      faulty += verdict(await inspect(pool), tenant ?? 'all tenants')
    }
    return faulty === 0 ? 0 : 1
  })
}

async function passesPolicies(pool: Pool): Promise<boolean> {
  const { rows } = await pool.query<{ passes: boolean }>(
    'select rolsuper or rolbypassrls as passes from pg_roles where rolname = current_user',
  )
  return rows[0]?.passes === true
}

function verdict({ rows, events, faults }: Inspected, whose: string): number {
  const filled = Object.entries(rows).filter(([, count]) => count > 0)
  console.table(filled.map(([table, count]) => ({ table, rows: count })))
  for (const fault of faults) console.error(`drill: ${whose}: ${fault}`)
  if (faults.length === 0)
    console.log(`verified: ${whose}: ${events} audit events are what they were hashed as`)
  return faults.length
}

type Rows = Readonly<Record<string, number>>
type Inspected = { readonly rows: Rows; readonly events: number; readonly faults: readonly string[] }

/** Counts every table, hashes every audit event again, and asks whether this version can work on the schema. */
async function inspect(pool: Pool): Promise<Inspected> {
  const tables = await pool.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
       and not relispartition order by relname`,
  )
  const rows: Record<string, number> = {}
  for (const { name } of tables.rows) {
    const counted = await pool.query<{ count: number }>(`select count(*) as count from "${name}"`)
    rows[name] = counted.rows[0]?.count ?? 0
  }
  const faults: string[] = []
  const { files } = await readMigrations(join(import.meta.dirname, '../migrations'))
  const schema = await checkSchema(
    pool,
    files.map(({ name }) => name),
  )
  if (schema.kind !== 'usable')
    faults.push(`the schema is not that of this version: ${JSON.stringify(schema)}`)
  return { rows, events: await hashEvents(pool, faults), faults }
}

async function hashEvents(pool: Pool, faults: string[]): Promise<number> {
  let after = ''
  let events = 0
  for (;;) {
    const page = await pool.query<{ id: string; body: Buffer; leaf_hash: Buffer }>(
      'select id, body, leaf_hash from audit_event where id > $1 order by id limit 1000',
      [after],
    )
    for (const { id, body, leaf_hash: leaf } of page.rows) {
      const hash = createHash('sha256').update(Buffer.of(0)).update(body).digest()
      if (!hash.equals(leaf)) faults.push(`the audit event ${id} is not what its hash says`)
      after = id
      events++
    }
    if (page.rows.length === 0) return events
  }
}

async function fill(url: string, hosts: number): Promise<readonly FleetHost[]> {
  return withPool(url, async (pool) => {
    const session = await pool.connect()
    try {
      await migrate(session, await readMigrations(join(import.meta.dirname, '../migrations')))
      // A backup must not lose what is written while it runs.
      await session.query(`alter system set wal_keep_size = '1GB'`)
      await session.query('select pg_reload_conf()')
    } finally {
      session.release()
    }
    const names = Array.from({ length: hosts }, (_, n) => `host-${n}`)
    const { hosts: fleet } = await makeTenant(pool, 'drill', names)
    await reportAll(url, fleet)
    return fleet
  })
}

/** Every host reports a new state once, through the handler that is deployed. */
async function reportAll(url: string, fleet: readonly FleetHost[]): Promise<number> {
  const config = readConfig({ ...databaseEnvironment(url, 'cf_ingest'), PUBLIC_AUTHORITY: AUTHORITY })
  const { handler, close } = agentReports(config, { log: () => {} })
  try {
    for (const host of fleet) {
      const answer = await call(handler, signedPost(host, '/v1/agent/reports', stateBody(host.hostname)))
      if (answer.status !== 202) throw new Error(`${host.hostname} was answered ${JSON.stringify(answer)}`)
    }
    return fleet.length
  } finally {
    await close()
  }
}

/** A base backup by the documented way: the files, the label of where their log begins, and that log. */
async function backUp(
  { url, cluster }: EmbeddedPostgres,
  { to, meanwhile }: { readonly to: string; meanwhile(): Promise<unknown> },
): Promise<{ readonly directory: string; readonly bytes: number }> {
  return withPool(url, async (pool) => {
    const session = await pool.connect()
    try {
      await session.query(`select pg_backup_start('drill', true)`)
      const [bytes] = await Promise.all([copyTree(cluster, to, NOT_COPIED), meanwhile()])
      const { rows } = await session.query<{ labelfile: string }>(
        'select labelfile from pg_backup_stop(false)',
      )
      const label = join(to, 'backup_label')
      await writeFile(label, rows[0]?.labelfile ?? '')
      await keepOwner(label, await stat(join(cluster, 'PG_VERSION')))
      await session.query('select pg_switch_wal()')
      return { directory: to, bytes }
    } finally {
      session.release()
    }
  })
}

/** What belongs to the running server, and the log, which is copied when everything is in it. */
const NOT_COPIED: ReadonlySet<string> = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal'])

/** Files come and go while a server runs: one that is gone is in the log. Keeps owners and modes; returns the bytes. */
async function copyTree(from: string, to: string, without: ReadonlySet<string> = new Set()): Promise<number> {
  const source = await stat(from)
  await mkdir(to, { recursive: true })
  let bytes = 0
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (without.has(entry.name)) continue
    const [one, other] = [join(from, entry.name), join(to, entry.name)]
    bytes += entry.isDirectory() ? await copyTree(one, other) : await copyOne(one, other)
  }
  await keepOwner(to, source)
  return bytes
}

async function copyOne(from: string, to: string): Promise<number> {
  try {
    const source = await stat(from)
    await copyFile(from, to)
    await keepOwner(to, source)
    return source.size
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0
    throw error
  }
}

async function keepOwner(
  path: string,
  { uid, gid, mode }: { readonly uid: number; readonly gid: number; readonly mode: number },
): Promise<void> {
  await chmod(path, mode & 0o7777)
  if (process.getuid?.() === 0) await chown(path, uid, gid)
}

async function withPool<T>(url: string, work: (pool: Pool) => Promise<T>): Promise<T> {
  const pool = connect({ ...readDatabaseUrl(url), max: 1, applicationName: 'drill', statementTimeoutMs: 0 })
  try {
    return await work(pool)
  } finally {
    await pool.end()
  }
}

process.exitCode = await main(process.argv.slice(2))
