import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { readMigrations } from '@crystal-forge/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../test/postgres/test-database.ts'
import { type Prepared, prepareDatabase } from './prepare-database.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase({ content: 'empty' })
})
afterAll(() => database.drop())

const ARN = 'arn:token'
const values = new Map<string, string>()
const secrets = {
  read: async (arn: string) => values.get(arn) ?? '',
  fillOnce: async (arn: string, make: () => string) => {
    if (values.has(arn)) return 'kept' as const
    values.set(arn, make())
    return 'filled' as const
  },
}

async function prepare(): Promise<Prepared> {
  return prepareDatabase({
    database: database.admin,
    migrations: await readMigrations(fileURLToPath(new URL('../../migrations', import.meta.url))),
    secrets,
    adminTokenSecretArn: ARN,
    tenant: 'acme',
    log: () => {},
  })
}

test('an empty database becomes one with a schema, a tenant and the token that its secret holds', async () => {
  const { applied, views } = await prepare()
  expect(applied).toBeGreaterThan(0)
  expect(views).toBeGreaterThan(0)
  const { rows } = await database.admin.query(
    'select t.name, a.role, a.token_sha256 from api_token a join tenant t on t.id = a.tenant_id',
  )
  const sha256 = createHash('sha256')
    .update(values.get(ARN) ?? '')
    .digest('hex')
  expect(rows).toEqual([{ name: 'acme', role: 'admin', token_sha256: sha256 }])
})

test('the next deployment changes nothing, and does not bring a revoked token back', async () => {
  await database.admin.query('update api_token set revoked_at = now()')
  const token = values.get(ARN)
  expect(await prepare()).toEqual({ applied: 0, views: 0 })
  expect(values.get(ARN)).toBe(token)
  const { rows } = await database.admin.query('select revoked_at is not null as revoked from api_token')
  expect(rows).toEqual([{ revoked: true }])
})

test('a secret that holds no token fails the deployment and is named, not quoted', async () => {
  values.set(ARN, 'hunter2')
  await expect(prepare()).rejects.toThrow(/^the secret arn:token holds no token/)
  await expect(prepare()).rejects.not.toThrow(/hunter2/)
})
