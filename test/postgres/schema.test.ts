import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { databaseTypes } from '../../scripts/database-types.ts'
import { dumpSchema } from '../../scripts/dump-schema.ts'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

const root = join(import.meta.dirname, '../..')
const repair = 'stale: npm run schema'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test('test/schema.sql shows what the migrations make', async () => {
  expect(await dumpSchema(database.admin), repair).toBe(await readFile(join(root, 'test/schema.sql'), 'utf8'))
})

test('the row types are those of the migrated database', async () => {
  const written = await readFile(join(root, 'packages/postgres/src/database.generated.ts'), 'utf8')
  expect(await databaseTypes(database.url), repair).toBe(written)
})

test('every table of a tenant has forced row-level security', async () => {
  const { rows } = await database.admin.query(`
    select c.relname from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id')
      and not (c.relrowsecurity and c.relforcerowsecurity
               and exists (select from pg_policy p where p.polrelid = c.oid))`)
  expect(rows).toEqual([])
})

test('no program owns a table or passes by row-level security', async () => {
  const { rows } = await database.admin.query(`
    select r.rolname from pg_roles r
    where r.rolname like 'cf\\_%'
      and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb
           or exists (select from pg_class c where c.relowner = r.oid))`)
  expect(rows).toEqual([])
})
