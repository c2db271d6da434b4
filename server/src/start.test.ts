import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { readConfig } from './config.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { livePostmaster } from './postmaster.ts'
import { type RunningServer, type Started, startServer } from './start.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-start-'))
chmodSync(root, 0o755)
// Servers start in a second, and in ten on a machine that does much else.
vi.setConfig({ testTimeout: 90_000 })
const MIGRATIONS = join(import.meta.dirname, '../../migrations')
let external: Promise<EmbeddedPostgres> | undefined
let server: RunningServer
const log: string[] = []
beforeAll(async () => {
  server = await start('common', {}, log)
})
afterAll(async () => {
  await server.stop()
  await (await external)?.stop()
  rmSync(root, { recursive: true, force: true })
})

test('a second start in one process finds address, token, keys and rows of the first', async () => {
  const first = await start('twice')
  const made = await call(first.started, 'POST', '/v1/tokens', { name: 'kept', role: 'viewer' })
  expect(made.status).toBe(201)
  await first.stop()
  await expect(fetch(`${first.started.url}/status`)).rejects.toThrow()

  const second = await start('twice')
  expect(second.started).toEqual(first.started)
  expect(await tokenNames(second.started)).toEqual(['kept', 'first admin token'])
  await second.stop()
})

test('what is written beside the data holds no secret, and the secrets are for their owner only', async () => {
  const dataDir = join(root, 'common')
  const written = readFileSync(join(dataDir, 'server.json'), 'utf8')
  expect(JSON.parse(written)).toEqual(server.started)
  expect(statSync(join(dataDir, 'server.json')).mode & 0o777).toBe(0o644)
  const names = readdirSync(join(dataDir, 'secrets'))
  expect(names).toContain('database-superuser-password')
  for (const name of names) {
    const file = join(dataDir, 'secrets', name)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    for (const secret of readFileSync(file, 'utf8').trim().split(':')) {
      if (secret.length > 20) expect(written).not.toContain(secret)
    }
  }
})

test('functions log in as a role that owns nothing and may read nothing before it becomes theirs', async () => {
  const password = readFileSync(join(root, 'common', 'secrets', 'database-login-password'), 'utf8').trim()
  const { port } = new URL(server.started.databaseUrl)
  const client = new pg.Client({
    host: '127.0.0.1',
    port: Number(port),
    user: 'cf_login',
    database: 'postgres',
    password,
  })
  await client.connect()
  const { rows } = await client.query(
    `select rolsuper, rolbypassrls, rolinherit, rolcreaterole from pg_roles where rolname = current_user`,
  )
  expect(rows).toEqual([{ rolsuper: false, rolbypassrls: false, rolinherit: false, rolcreaterole: false }])
  await expect(client.query('select from tenant')).rejects.toThrow(/permission denied/)
  await expect(client.query('set role postgres')).rejects.toThrow(/permission denied/)
  await client.query('set role cf_operators')
  expect((await client.query('select from tenant')).rowCount).toBe(0)
  await client.end()
})

test('dashboards log in with the password of their file, see the tenant, and change nothing', async () => {
  const secrets = join(root, 'common', 'secrets')
  const { port } = new URL(server.started.databaseUrl)
  const client = new pg.Client({
    host: '127.0.0.1',
    port: Number(port),
    user: 'cf_dashboards',
    database: 'postgres',
    password: readFileSync(join(secrets, 'database-dashboards-password'), 'utf8').trim(),
  })
  await client.connect()
  const { rows } = await client.query('select id, name from tenant')
  expect(rows).toEqual([{ id: server.started.tenantId, name: 'default' }])
  await client.query('select * from view_system_deployment_status')
  await expect(client.query('select from api_token')).rejects.toThrow(/permission denied/)
  await expect(client.query('delete from system')).rejects.toThrow(/permission denied/)
  await client.end()
})

test('a postmaster that is killed during requests comes back, and so do the functions', async () => {
  const cluster = join(root, 'common', 'postgres', 'cluster')
  const before = await livePostmaster(cluster)
  let asking = true
  const askers = Array.from({ length: 4 }, async () => {
    const statuses: number[] = []
    while (asking) statuses.push((await call(server.started, 'GET', '/v1/tokens')).status)
    return statuses
  })
  process.kill(before?.pid ?? 0, 'SIGKILL')
  await expect
    .poll(() => log.filter((line) => line.includes('runs again')).length, { timeout: 60_000 })
    .toBe(1)
  await expect
    .poll(async () => (await call(server.started, 'GET', '/v1/tokens')).status, { timeout: 60_000 })
    .toBe(200)
  asking = false
  for (const statuses of await Promise.all(askers)) expect(statuses.at(-1)).toBe(200)
  expect((await livePostmaster(cluster))?.pid).not.toBe(before?.pid)
  expect((await call(server.started, 'POST', '/v1/tokens', { name: 'after', role: 'viewer' })).status).toBe(
    201,
  )
})

test('a second server on the directory of a running one is refused in one line that names the first', async () => {
  const refusal = await start('common').catch((error: Error) => error.message)
  expect(refusal).toBe(
    `another server (${server.started.url}) runs on ${join(root, 'common')}: stop it, or choose another --data-dir`,
  )
  expect((await call(server.started, 'GET', '/v1/tokens')).status).toBe(200)
})

test('a start that fails takes down what it had started', async () => {
  const { port } = new URL(server.started.url)
  await expect(start('failing', { CRYSTAL_FORGE__SERVER__PORT: port })).rejects.toThrow(/EADDRINUSE/)
  expect(await livePostmaster(join(root, 'failing', 'postgres', 'cluster'))).toBeUndefined()
  expect(existsSync(join(root, 'failing', 'server.json'))).toBe(false)
  // Nothing holds the directory any more.
  const again = await start('failing')
  await again.stop()
  expect(await livePostmaster(join(root, 'failing', 'postgres', 'cluster'))).toBeUndefined()
})

test.each([
  ['narinfo.key', /is not a Nix secret key/],
  ['admin-token', /holds no token/],
  ['database-login-password', /remove it to get a new one/],
])('a damaged %s stops the start by name', async (name, message) => {
  const directory = join(root, 'failing', 'secrets')
  const before = readFileSync(join(directory, name))
  writeFileSync(join(directory, name), 'damaged\n')
  await expect(start('failing')).rejects.toThrow(message)
  writeFileSync(join(directory, name), before)
})

test('an owner that is no superuser, as on RDS, can migrate, start, serve and start again', async () => {
  const url = await externalDatabase('managed', 'createrole')
  const said: string[] = []
  const first = await start('external', { DATABASE_URL: url }, said)
  expect(first.started.databaseUrl).not.toContain('a-password')
  expect(statSync(join(root, 'external', 'secrets', 'database-password')).mode & 0o777).toBe(0o600)
  expect((await call(first.started, 'POST', '/v1/tokens', { name: 'kept', role: 'viewer' })).status).toBe(201)
  const enroll = await call(first.started, 'POST', '/v1/enroll-tokens', { hostname: 'web-*' })
  expect(enroll.status).toBe(201)
  for (const list of ['systems', 'flakes', 'drift', 'jobs', 'events', 'builders', 'cache'])
    expect({ list, status: (await call(first.started, 'GET', `/v1/${list}`)).status }).toEqual({
      list,
      status: 200,
    })
  await expect
    .poll(() => said.filter((line) => /^(info|debug) sweep/.test(line)).length, { timeout: 60_000 })
    .toBeGreaterThan(0)
  await first.stop()

  const second = await start('external', { DATABASE_URL: url }, said)
  expect(second.started.tenantId).toBe(first.started.tenantId)
  expect(await tokenNames(second.started)).toEqual(['kept', 'first admin token'])
  await second.stop()
  expect(said.filter((line) => /^(warn|error)/.test(line))).toEqual([])
})

test('that owner is bound by row-level security itself', async () => {
  const url = await externalDatabase('bound', 'createrole')
  await (await start('bound', { DATABASE_URL: url })).stop()
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  expect((await client.query('select from api_token')).rowCount).toBe(0)
  expect((await client.query('select from tenant')).rowCount).toBe(1)
  await client.end()
})

test('an owner that may not make roles is told so', async () => {
  const url = await externalDatabase('powerless', 'nocreaterole')
  // The roles belong to the whole cluster: only where none exists must they be made.
  const outcome = await start('powerless', { DATABASE_URL: url }).then(
    (started) => started.stop().then(() => 'started'),
    (error: Error) => error.message,
  )
  expect(outcome).toMatch(
    /permission denied to create role|may not become cf_[a-z]+: as its administrator, grant/,
  )
})

test("the original's four variables start a server on a local database", async () => {
  const postgres = await startEmbeddedPostgres({
    dataDir: join(root, 'original-pg'),
    access: 'trust',
    ephemeral: true,
  })
  const admin = new pg.Client({ connectionString: postgres.url })
  await admin.connect()
  await admin.query('create role crystal_forge login createrole')
  await admin.query('create database cf owner crystal_forge')
  await admin.end()
  const original = await start('original', {
    CRYSTAL_FORGE__SERVER__HOST: '127.0.0.1',
    CRYSTAL_FORGE__SERVER__PORT: '0',
    CRYSTAL_FORGE__DATABASE__HOST: '127.0.0.1',
    CRYSTAL_FORGE__DATABASE__PORT: String(postgres.port),
    CRYSTAL_FORGE__DATABASE__NAME: 'cf',
  })
  expect(await tokenNames(original.started)).toEqual(['first admin token'])
  await original.stop()
  await postgres.stop()
})

async function start(
  name: string,
  environment: Record<string, string> = {},
  lines: string[] = [],
): Promise<RunningServer> {
  const dataDir = join(root, name)
  const read = readConfig({ CF_EPHEMERAL: '1', ...environment }, undefined, { dataDir })
  if (!read.ok) throw new Error(read.errors.join('\n'))
  return startServer(
    read.config,
    (level, message, fields) => {
      if (level !== 'debug' || message === 'sweep')
        lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`)
    },
    MIGRATIONS,
  )
}

/** A database on a second cluster whose owner is what RDS calls a master user: no superuser. */
async function externalDatabase(name: string, right: 'createrole' | 'nocreaterole'): Promise<string> {
  const access = { passwordFile: join(root, 'external-password') }
  if (external === undefined) {
    writeFileSync(access.passwordFile, 'root-password\n')
    external = startEmbeddedPostgres({ dataDir: join(root, 'external-pg'), access, ephemeral: true })
  }
  const { host, port } = await external
  const admin = new pg.Client({
    host,
    port,
    user: 'postgres',
    database: 'postgres',
    password: 'root-password',
  })
  await admin.connect()
  // Roles are the cluster's, not the database's: each of these tests begins without them.
  const { rows } = await admin.query(`select rolname from pg_roles where rolname like 'cf\\_%'`)
  const { rows: databases } = await admin.query(
    `select datname from pg_database where not datistemplate and datname <> 'postgres'`,
  )
  for (const { datname } of databases) await admin.query(`drop database ${datname} with (force)`)
  for (const { rolname } of rows) await admin.query(`drop role ${rolname}`)
  await admin.query(`create role owner_${name} login nosuperuser ${right} password 'a-password'`)
  await admin.query(`create database ${name} owner owner_${name}`)
  await admin.end()
  return `postgres://owner_${name}:a-password@${host}:${port}/${name}`
}

async function call(
  { url, adminTokenFile }: Started,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${readFileSync(adminTokenFile, 'utf8').trim()}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: JSON.parse(await response.text()) }
}

async function tokenNames(started: Started): Promise<unknown> {
  const { body } = await call(started, 'GET', '/v1/tokens')
  return Array.isArray(body['items']) ? body['items'].map(({ name }) => name) : body
}
