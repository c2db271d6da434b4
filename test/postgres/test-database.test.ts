import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

let one: TestDatabase
let two: TestDatabase

beforeAll(async () => {
  ;[one, two] = await Promise.all([createTestDatabase(), createTestDatabase()])
})
afterAll(() => Promise.all([one.drop(), two.drop()]))

test('two test databases do not see each other', async () => {
  await one.admin.query('create table only_here ()')
  expect((await two.admin.query("select to_regclass('only_here') as found")).rows).toEqual([{ found: null }])
})

test('the schema is there, and roles of the migrations can log in', async () => {
  const { rows } = await one.poolFor('cf_ingest').query('select count(*) from schema_migration')
  expect(rows[0].count).toBeGreaterThan(0)
})
