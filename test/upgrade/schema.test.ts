import { join } from 'node:path'
import { connect, MIGRATION_NAMES, migrate, readDatabaseUrl, readMigrations } from '@crystal-forge/postgres'
import { generateKeyPair } from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { getEvent } from '../aws/functions.ts'
import { buildBundles, type Instance, startInstance } from '../aws/lambda.ts'
import { AUTHORITY, databaseEnvironment, makeTenant, signedPost, stateBody } from '../postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'

// Functions and schema of different versions, as when a deployment stopped half-way, or went on without one of them.
let bundles: Awaited<ReturnType<typeof buildBundles>>
let database: TestDatabase
const running: Instance[] = []

beforeAll(async () => {
  bundles = await buildBundles()
}, 60_000)
beforeEach(async () => {
  database = await createTestDatabase({ content: 'empty' })
  return async () => {
    for (const instance of running.splice(0)) await instance.stop()
    await database.drop()
  }
})
afterAll(() => bundles?.remove())

async function migrateTo(count: number, views: boolean): Promise<void> {
  const all = await readMigrations(join(import.meta.dirname, '../../migrations'))
  const session = await database.admin.connect()
  await migrate(session, { files: all.files.slice(0, count), views: views ? all.views : [] })
  session.release()
}

async function start(name: string, role: string): Promise<Instance> {
  const instance = await startInstance(bundles.file(name), {
    ...databaseEnvironment(database.url, role),
    DATABASE_CONNECTIONS: '1',
    PUBLIC_AUTHORITY: AUTHORITY,
  })
  running.push(instance)
  return instance
}

async function statusOf(instance: Instance, event: object): Promise<number> {
  return ((await instance.invoke(event)) as { statusCode: number }).statusCode
}

/** Of a host that nobody knows: where functions work it is refused as such. */
const stranger = (): object => signedPost(generateKeyPair(), '/v1/agent/reports', stateBody('web-1'))

describe('functions on a schema that is two versions behind', () => {
  test('refuse to work, name what is missing, and go on by themselves once it is there', async () => {
    await migrateTo(MIGRATION_NAMES.length - 2, false)
    const reports = await start('agent-reports', 'cf_ingest')
    const status = await start('status', 'cf_status')
    expect(await statusOf(reports, stranger())).toBe(500)
    expect(await statusOf(status, getEvent('/status'))).toBe(503)
    const missing = MIGRATION_NAMES.slice(-2).join(', ')
    await vi.waitFor(() => {
      for (const instance of [reports, status])
        expect(instance.log()).toContain(
          `the schema lacks ${missing}: run the migrations of this version first`,
        )
    })

    await migrateTo(MIGRATION_NAMES.length, true)
    expect(await statusOf(status, getEvent('/status'))).toBe(200)
    const { hosts } = await makeTenant(database.admin, 'acme', ['web-1'])
    const [host] = hosts
    if (host === undefined) throw new Error('no host')
    expect(await statusOf(reports, signedPost(host, '/v1/agent/reports', stateBody('web-1')))).toBe(202)
  })
})

describe('functions on a schema that is two versions ahead', () => {
  const addLater = (name: string, compatible: boolean): Promise<unknown> =>
    database.admin.query(`insert into schema_migration (name, sha256, compatible) values ($1, 'x', $2)`, [
      name,
      compatible,
    ])

  test('work as long as its newer files say that they can', async () => {
    await migrateTo(MIGRATION_NAMES.length, true)
    await addLater('9998_later.sql', true)
    await addLater('9999_later_still.sql', true)
    expect(await statusOf(await start('agent-reports', 'cf_ingest'), stranger())).toBe(401)
    expect(await statusOf(await start('status', 'cf_status'), getEvent('/status'))).toBe(200)
  })

  test('refuse to work when one of them is breaking, and write nothing', async () => {
    await migrateTo(MIGRATION_NAMES.length, true)
    const { hosts } = await makeTenant(database.admin, 'acme', ['web-1'])
    const [host] = hosts
    if (host === undefined) throw new Error('no host')
    await addLater('9998_later.sql', true)
    await addLater('9999_breaking.sql', false)
    const reports = await start('agent-reports', 'cf_ingest')
    expect(await statusOf(reports, signedPost(host, '/v1/agent/reports', stateBody('web-1')))).toBe(500)
    await vi.waitFor(() =>
      expect(reports.log()).toContain('the schema has 9999_breaking.sql, which programs of this'),
    )
    expect((await database.admin.query('select from system_state')).rows).toEqual([])
  })

  test('are, seen from the schema, the functions of two versions ago', async () => {
    await migrateTo(MIGRATION_NAMES.length, true)
    const old = connect({
      ...readDatabaseUrl(database.urlFor('cf_ingest')),
      schema: MIGRATION_NAMES.slice(0, -2),
      max: 1,
    })
    expect((await old.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await old.end()
  })
})
