import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { app } from '../../functions/agent-reports/app.ts'
import { readConfig } from '../../functions/agent-reports/config.ts'
import {
  AUTHORITY,
  call,
  databaseEnvironment,
  makeTenant,
  signedPost,
  stateBody,
} from '../postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'

const script = join(import.meta.dirname, '../../scripts/drill.ts')
let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

async function drill(argv: readonly string[], environment: Record<string, string> = {}) {
  try {
    const env = { PATH: process.env['PATH'] ?? '', ...environment }
    const done = await promisify(execFile)(process.execPath, [script, ...argv], { env, timeout: 120_000 })
    return { code: 0, ...done }
  } catch (error) {
    if (error instanceof Error && 'stdout' in error && 'stderr' in error && 'code' in error)
      return { code: error.code, stdout: String(error.stdout), stderr: String(error.stderr) }
    throw error
  }
}

test('the restore drill loses a database while hosts report, and misses no row afterwards', async () => {
  const { code, stdout } = await drill(['--hosts', '5'])
  expect(stdout).toMatch(/restored: \d+ rows in \d+ tables, none missing/)
  expect(code).toBe(0)
}, 150_000)

test('verification alone finds an audit event that is not what its hash says', async () => {
  const { tenant, hosts } = await makeTenant(database.admin, 'acme', ['web-1'])
  const config = readConfig({
    ...databaseEnvironment(database.url, 'cf_ingest'),
    PUBLIC_AUTHORITY: AUTHORITY,
  })
  const reports = app(config, { log: () => {} })
  for (const host of hosts)
    await call(reports.handler, signedPost(host, '/v1/agent/reports', stateBody(host.hostname)))
  await reports.close()

  expect(await drill(['verify'], { DATABASE_URL: database.url })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('1 audit events are what they were hashed as'),
  })
  const owner = { DATABASE_URL: database.urlFor('cf_status') }
  expect(await drill(['verify'], owner)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--tenant'),
  })

  // What the database itself would never allow.
  await database.admin.query('alter table audit_event disable trigger all')
  await database.admin.query('alter table audit_event alter column leaf_hash drop expression')
  await database.admin.query(`update audit_event set body = body || ' '::bytea where tenant_id = $1`, [
    tenant,
  ])
  expect(await drill(['verify'], { DATABASE_URL: database.url })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('is not what its hash says'),
  })
}, 60_000)

test('a command line that says nothing sensible is refused', async () => {
  expect(await drill(['--hosts', 'all'])).toMatchObject({ code: 2 })
  expect(await drill(['verify'])).toMatchObject({ code: 2 })
})
