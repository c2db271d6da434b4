import { randomUUID } from 'node:crypto'
import { inTransaction, revokeEnrollToken } from '@crystal-forge/postgres'
import {
  generateKeyPair,
  keyId,
  renderPublicKey,
  type SecretSeed,
  signRequestTwice,
} from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AUTHORITY,
  call,
  databaseEnvironment,
  type FleetHost,
  makeHost,
  makeTenant,
  nonce,
  post,
  signedPost,
  stateBody,
} from '../../test/postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../../test/postgres/test-database.ts'
import { app as reportsApp } from '../agent-reports/app.ts'
import { readConfig as readReportsConfig } from '../agent-reports/config.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

type Pair = ReturnType<typeof generateKeyPair>

let database: TestDatabase
let keys: ReturnType<typeof app>
let reports: ReturnType<typeof reportsApp>
let tenant: string
let other: string

beforeAll(async () => {
  database = await createTestDatabase()
  tenant = (await makeTenant(database.admin, 'one', [])).tenant
  other = (await makeTenant(database.admin, 'other', [])).tenant
  const environment = (role: string): Record<string, string> => ({
    ...databaseEnvironment(database.url, role),
    PUBLIC_AUTHORITY: AUTHORITY,
  })
  keys = app(readConfig(environment('cf_enroll')), { log: console.error })
  reports = reportsApp(readReportsConfig(environment('cf_ingest')), { log: console.error })
})
afterAll(async () => {
  await Promise.all([keys.close(), reports.close()])
  await database.drop()
})

async function makeToken(
  hostnamePattern: string,
  more: { flake?: string; hours?: number; tenant?: string } = {},
): Promise<Pair> {
  const pair = generateKeyPair()
  await database.admin.query(
    `insert into enroll_token (tenant_id, key_id, public_key, hostname_pattern, created_by, flake_id, created_at, expires_at)
     values ($1, $2, $3, $4, 'test', $5, now() + $6 * interval '1 hour' - interval '1 hour', now() + $6 * interval '1 hour')`,
    [
      more.tenant ?? tenant,
      keyId(pair.publicKey),
      pair.publicKey,
      hostnamePattern,
      more.flake ?? null,
      more.hours ?? 1,
    ],
  )
  return pair
}

function twice(
  path: string,
  body: object,
  fresh: Pair,
  second: { boot: SecretSeed } | { old: SecretSeed },
): APIGatewayProxyEventV2 {
  const bytes = Buffer.from(JSON.stringify(body))
  const request = {
    method: 'POST',
    authority: AUTHORITY,
    target: path,
    body: bytes,
    tag: 'crystal-forge-agent-v1',
    now: new Date(),
  } as const
  const own = { seed: fresh.seed, nonce: nonce() }
  const headers =
    'boot' in second
      ? signRequestTwice(request, { new: own, boot: { seed: second.boot, nonce: nonce() } })
      : signRequestTwice(request, { new: own, old: { seed: second.old, nonce: nonce() } })
  return post(path, { host: AUTHORITY, ...headers }, bytes)
}

function enrolment(hostname: string, fresh: Pair, token: Pair, more: object = {}): APIGatewayProxyEventV2 {
  const body = { v: 1, hostname, public_key: renderPublicKey(fresh.publicKey), ...more }
  return twice('/v1/enroll', body, fresh, { boot: token.seed })
}

function rotation(host: Pick<FleetHost, 'seed' | 'hostname'>, fresh: Pair): APIGatewayProxyEventV2 {
  const body = { v: 1, hostname: host.hostname, public_key: renderPublicKey(fresh.publicKey) }
  return twice('/v1/agent/keys', body, fresh, { old: host.seed })
}

async function reportsWith(host: { hostname: string; seed: SecretSeed }): Promise<number | undefined> {
  return (await call(reports.handler, signedPost(host, '/v1/agent/reports', stateBody(host.hostname)))).status
}

async function eventsOf(system: unknown): Promise<string[]> {
  const { rows } = await database.admin.query(
    `select type from audit_event where convert_from(body, 'UTF8')::jsonb -> 'actor' ->> 'system' = $1 order by id`,
    [system],
  )
  return rows.map((row) => row.type)
}

describe('enrolment', () => {
  test('makes the system, its key and the event, after which the host reports', async () => {
    const fresh = generateKeyPair()
    const answer = await call(keys.handler, enrolment('web-1', fresh, await makeToken('web-*')))
    expect(answer).toMatchObject({ status: 201, body: { key_id: keyId(fresh.publicKey) } })
    expect(await reportsWith({ hostname: 'web-1', seed: fresh.seed })).toBe(202)
    expect(await eventsOf(answer.body['system'])).toEqual(['agent.enrolled', 'agent.report'])
  })

  test('follows the configuration of its flake that the host names', async () => {
    const { rows } = await database.admin.query(
      `insert into flake (tenant_id, name, repository_url, source) values ($1, 'fleet', 'https://example.com/f', '{}') returning id`,
      [tenant],
    )
    const token = await makeToken('conf-1', { flake: rows[0].id })
    const answer = await call(
      keys.handler,
      enrolment('conf-1', generateKeyPair(), token, { configuration: 'web' }),
    )
    expect(answer.status).toBe(201)
    const found = await database.admin.query(
      'select c.name, s.flake_id from system s join configuration c on c.id = s.configuration_id where s.id = $1',
      [answer.body['system']],
    )
    expect(found.rows).toEqual([{ name: 'web', flake_id: rows[0].id }])
  })

  test('whose answer got lost can be asked for again; the same request cannot', async () => {
    const fresh = generateKeyPair()
    const token = await makeToken('lost-1')
    const event = enrolment('lost-1', fresh, token)
    const first = await call(keys.handler, event)
    expect(await call(keys.handler, event)).toMatchObject({ status: 409, body: { code: 'replayed' } })
    const again = await call(keys.handler, enrolment('lost-1', fresh, token))
    expect(again).toMatchObject({
      status: 200,
      body: { system: first.body['system'], key_id: first.body['key_id'] },
    })
  })

  test('with one token of two hosts at once succeeds for one', async () => {
    const token = await makeToken('race-*')
    const answers = await Promise.all(
      ['race-1', 'race-2', 'race-3'].map((name) =>
        call(keys.handler, enrolment(name, generateKeyPair(), token)),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403, 403])
    const { rows } = await database.admin.query(
      "select count(*)::int as systems from system where hostname like 'race-%'",
    )
    expect(rows).toEqual([{ systems: 1 }])
  })

  test('and the revocation of its token at once: one of the two happens, and never both', async () => {
    for (let round = 0; round < 8; round++) {
      const token = await makeToken(`either-${round}`)
      const [{ status }, revoked] = await Promise.all([
        call(keys.handler, enrolment(`either-${round}`, generateKeyPair(), token)),
        inTransaction(database.admin, { tenant }, async (transaction) => {
          const { rows } = await transaction.query<{ id: string }>(
            'select id from enroll_token where key_id = $1',
            [keyId(token.publicKey)],
          )
          return await revokeEnrollToken(transaction, rows[0]?.id ?? '')
        }),
      ])
      expect([status, revoked.kind]).toEqual(revoked.kind === 'used' ? [201, 'used'] : [403, 'revoked'])
      const { rows } = await database.admin.query('select from system where hostname = $1', [
        `either-${round}`,
      ])
      expect(rows).toHaveLength(status === 201 ? 1 : 0)
    }
  })

  test('of a host that has a key needs a token for exactly that host, and revokes the key', async () => {
    const host = await makeHost(database.admin, tenant, 'again-1')
    const taken = await call(
      keys.handler,
      enrolment('again-1', generateKeyPair(), await makeToken('again-*')),
    )
    expect(taken).toMatchObject({ status: 409, body: { code: 'host_has_key' } })
    expect(await reportsWith(host)).toBe(202)
    const fresh = generateKeyPair()
    const exact = await call(keys.handler, enrolment('again-1', fresh, await makeToken('again-1')))
    expect(exact).toMatchObject({ status: 201, body: { system: host.system } })
    expect(await reportsWith(host)).toBe(401)
    expect(await reportsWith({ ...host, seed: fresh.seed })).toBe(202)
    expect(await eventsOf(host.system)).toEqual([
      'agent.report',
      'key.revoked',
      'agent.enrolled',
      'agent.report',
    ])
  })

  const refusals: [string, () => Promise<APIGatewayProxyEventV2>, number, string][] = [
    [
      'a token for another host',
      async () => enrolment('db-9', generateKeyPair(), await makeToken('web-*')),
      403,
      'token_refused',
    ],
    [
      'a pattern that would cross a dot',
      async () => enrolment('web-1.evil', generateKeyPair(), await makeToken('web-*')),
      403,
      'token_refused',
    ],
    [
      'an expired token',
      async () => enrolment('late-1', generateKeyPair(), await makeToken('late-1', { hours: -1 })),
      403,
      'token_refused',
    ],
    [
      'an unknown token',
      async () => enrolment('web-7', generateKeyPair(), generateKeyPair()),
      401,
      'signature_refused',
    ],
    [
      'a key of another tenant',
      async () =>
        enrolment(
          'web-8',
          await makeHost(database.admin, other, `foreign-${nonce().replaceAll(/[-_]/g, '')}`),
          await makeToken('web-8'),
        ),
      409,
      'key_in_use',
    ],
    [
      "a builder's key, of whichever tenant",
      async () => enrolment('web-8', await makeBuilderKey(other), await makeToken('web-8')),
      409,
      'key_in_use',
    ],
    [
      'an inactive system',
      async () => {
        const host = await makeHost(database.admin, tenant, 'off-1')
        await database.admin.query('update system set active = false where id = $1', [host.system])
        return enrolment('off-1', generateKeyPair(), await makeToken('off-1'))
      },
      403,
      'system_inactive',
    ],
    [
      'a body with more than it may have',
      async () => enrolment('web-9', generateKeyPair(), await makeToken('web-9'), { role: 'admin' }),
      400,
      'invalid_body',
    ],
    [
      'a configuration without a name',
      async () => enrolment('web-9', generateKeyPair(), await makeToken('web-9'), { configuration: '' }),
      400,
      'invalid_body',
    ],
    [
      'a name that no configuration can have',
      async () => {
        const hostname = 'x'.repeat(129)
        return enrolment(hostname, generateKeyPair(), await makeToken(hostname))
      },
      400,
      'invalid_body',
    ],
    [
      'a new key that did not sign',
      async () => {
        const token = await makeToken('web-6')
        const body = { v: 1, hostname: 'web-6', public_key: renderPublicKey(generateKeyPair().publicKey) }
        return twice('/v1/enroll', body, generateKeyPair(), { boot: token.seed })
      },
      401,
      'signature_refused',
    ],
  ]
  test.each(refusals)('is refused for %s, and leaves nothing behind', async (_, event, status, code) => {
    const request = await event()
    const before = await everything()
    expect(await call(keys.handler, request)).toMatchObject({ status, body: { code } })
    expect(await everything()).toEqual(before)
  })
})

describe('rotation', () => {
  test('makes the new key active and revokes the old one', async () => {
    const host = await makeHost(database.admin, tenant, 'rot-1')
    const fresh = generateKeyPair()
    const answer = await call(keys.handler, rotation(host, fresh))
    expect(answer).toMatchObject({
      status: 201,
      body: { key_id: keyId(fresh.publicKey), replaced: host.keyId },
    })
    expect(await reportsWith(host)).toBe(401)
    expect(await reportsWith({ ...host, seed: fresh.seed })).toBe(202)
    expect(await eventsOf(host.system)).toEqual(['agent.key_rotated', 'agent.report'])
  })

  test('whose answer got lost can be asked for again with the same two keys, and with no others', async () => {
    const host = await makeHost(database.admin, tenant, 'rot-2')
    const fresh = generateKeyPair()
    await call(keys.handler, rotation(host, fresh))
    expect(await call(keys.handler, rotation(host, fresh))).toMatchObject({ status: 200 })
    expect(await call(keys.handler, rotation(host, generateKeyPair()))).toMatchObject({ status: 401 })
    expect(await eventsOf(host.system)).toEqual(['agent.key_rotated'])
  })

  test('of one key to two others at once happens once', async () => {
    const host = await makeHost(database.admin, tenant, 'rot-3')
    const answers = await Promise.all([
      call(keys.handler, rotation(host, generateKeyPair())),
      call(keys.handler, rotation(host, generateKeyPair())),
    ])
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 401])
  })

  test("is refused for another host's name, and for a key that is in use", async () => {
    const host = await makeHost(database.admin, tenant, 'rot-4')
    const neighbour = await makeHost(database.admin, tenant, 'rot-5')
    const renamed = await call(keys.handler, rotation({ ...host, hostname: 'rot-5' }, generateKeyPair()))
    expect(renamed).toMatchObject({ status: 403, body: { code: 'identity_mismatch' } })
    for (const taken of [neighbour, await makeBuilderKey(tenant)])
      expect(await call(keys.handler, rotation(host, taken))).toMatchObject({
        status: 409,
        body: { code: 'key_in_use' },
      })
    expect(await reportsWith(host)).toBe(202)
  })
})

test('a host key does not become a builder key, and of two at once one wins', async () => {
  const host = await makeHost(database.admin, tenant, 'both-1')
  await expect(storeBuilderKey(other, host)).rejects.toMatchObject({ constraint: 'one_owner_per_key' })
  const pair = generateKeyPair()
  const asHost = call(keys.handler, enrolment('both-2', pair, await makeToken('both-2')))
  const asBuilder = storeBuilderKey(tenant, pair).then(
    () => 'stored',
    () => 'refused',
  )
  expect([(await asHost).status, await asBuilder]).toBeOneOf([
    [201, 'refused'],
    [409, 'stored'],
  ])
})

async function makeBuilderKey(owner: string): Promise<ReturnType<typeof generateKeyPair>> {
  const pair = generateKeyPair()
  await storeBuilderKey(owner, pair)
  return pair
}

async function storeBuilderKey(owner: string, { publicKey }: { publicKey: Uint8Array }): Promise<void> {
  await database.admin.query(
    `with b as (insert into builder (tenant_id, name) values ($1, $2) returning id)
     insert into builder_key (key_id, tenant_id, builder_id, public_key) select $3, $1, b.id, $4 from b`,
    [owner, `builder-${randomUUID().slice(0, 8)}`, keyId(publicKey), Buffer.from(publicKey)],
  )
}

async function everything(): Promise<unknown> {
  const { rows } = await database.admin.query(
    `select (select count(*)::int from system) as systems, (select count(*)::int from system_key) as keys,
            (select count(*)::int from audit_event) as events, (select count(*)::int from request_nonce) as nonces,
            (select count(*)::int from enroll_token where used_at is not null) as used`,
  )
  return rows[0]
}
