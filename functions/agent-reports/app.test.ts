import {
  contentDigest,
  parseSignedRequest,
  type StateReport,
  stateDigest,
  verifyEd25519,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  AUTHORITY,
  call,
  databaseEnvironment,
  type FleetHost,
  makeTenant,
  post,
  signedPost,
  stateBody,
} from '../../test/postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../../test/postgres/test-database.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

const PATH = '/v1/agent/reports'
let database: TestDatabase
let reports: ReturnType<typeof app>
let web: FleetHost
let db: FleetHost
let now: Date | undefined

beforeAll(async () => {
  database = await createTestDatabase()
  const { hosts } = await makeTenant(database.admin, 'one', ['web-1', 'db-1'])
  web = hosts[0] as FleetHost
  db = hosts[1] as FleetHost
  const environment = {
    ...databaseEnvironment(database.url, 'cf_ingest'),
    PUBLIC_AUTHORITY: AUTHORITY,
    NEXT_REPORT_IN_S: '30',
  }
  reports = app(readConfig(environment), { log: () => undefined, now: () => now ?? new Date() })
})
beforeEach(() => {
  now = undefined
})
afterAll(async () => {
  await reports.close()
  await database.drop()
})

async function stored(): Promise<unknown> {
  const { rows } = await database.admin.query(
    `select (select count(*)::int from system_state) as states, (select count(*)::int from report_receipt) as receipts,
            (select count(*)::int from request_nonce) as nonces, (select count(*)::int from audit_event) as events`,
  )
  return rows[0]
}

test('a state is answered with when to report next; its retry gets the same answer, a replay none', async () => {
  const body = stateBody('web-1')
  const event = signedPost(web, PATH, body)
  const first = await call(reports.handler, event)
  expect(first).toMatchObject({ status: 202, body: { next_report_in_s: 30, deployment: null } })
  const replay = await call(reports.handler, event)
  expect(replay).toMatchObject({ status: 409, body: { code: 'replayed' } })
  const retry = await call(reports.handler, signedPost(web, PATH, body))
  expect(retry).toEqual({ status: 200, body: first.body })
})

test('the same request twice at once is one 202 and one 409', async () => {
  const event = signedPost(web, PATH, stateBody('web-1'))
  const answers = await Promise.all([call(reports.handler, event), call(reports.handler, event)])
  expect(answers.map(({ status }) => status).sort((a, b) => Number(a) - Number(b))).toEqual([202, 409])
})

test('a heartbeat stands for the state that the host sent last, and for no other', async () => {
  const body = stateBody('web-1')
  await call(reports.handler, signedPost(web, PATH, body))
  const heartbeat = (digest: string): object => ({
    v: 1,
    kind: 'heartbeat',
    report_id: `beat-${digest.slice(0, 8)}-0123456789`,
    hostname: 'web-1',
    collected_at: new Date().toISOString(),
    state_digest: digest,
  })
  const current = stateDigest(body as StateReport)
  expect((await call(reports.handler, signedPost(web, PATH, heartbeat(current)))).status).toBe(202)
  const other = await call(reports.handler, signedPost(web, PATH, heartbeat('f'.repeat(64))))
  expect(other).toMatchObject({ status: 409, body: { code: 'state_required' } })
})

test("from an event and its evidence anybody can verify the host's own signature", async () => {
  const body = stateBody('web-1')
  await call(reports.handler, signedPost(web, PATH, body))
  const { rows } = await database.admin.query(
    `select convert_from(a.body, 'UTF8')::jsonb as event, e.body as evidence
     from system_state s join audit_event a on convert_from(a.body, 'UTF8')::jsonb -> 'effect' ->> 'id' = s.id
     join evidence_object e on e.sha256 = s.evidence_sha256 where s.report_id = $1`,
    [body['report_id']],
  )
  const { http } = rows[0].event
  expect(http.fields['content-digest']).toBe(contentDigest(rows[0].evidence))
  const parsed = parseSignedRequest({
    method: http.method,
    authority: http.authority,
    target: http.query === '' ? http.path : `${http.path}?${http.query}`,
    fields: [
      ...Object.entries<string>(http.fields),
      ['signature-input', http.input],
      ['signature', http.signature],
    ],
    body: rows[0].evidence,
  })
  if (!parsed.ok) throw new Error(parsed.detail)
  const { base, signature } = parsed.signatures[0] ?? { base: new Uint8Array(), signature: new Uint8Array() }
  expect(verifyEd25519({ message: base, publicKey: web.publicKey, signature })).toBe(true)
})

test('a revocation holds for the very next request of a key that was just in use', async () => {
  expect((await call(reports.handler, signedPost(db, PATH, stateBody('db-1')))).status).toBe(202)
  await database.admin.query("update system_key set status = 'revoked' where key_id = $1", [db.keyId])
  const refused = await call(reports.handler, signedPost(db, PATH, stateBody('db-1')))
  expect(refused).toMatchObject({ status: 401, body: { code: 'signature_refused' } })
  const unknown = await call(reports.handler, signedPost(db, PATH, stateBody('db-1')))
  expect(unknown).toEqual(refused)
  await database.admin.query("update system_key set status = 'active' where key_id = $1", [db.keyId])
})

describe('refused, and nothing changes', () => {
  const cases: [string, () => ReturnType<typeof signedPost>, number, string][] = [
    ["another host's name", () => signedPost(web, PATH, stateBody('db-1')), 403, 'identity_mismatch'],
    [
      "another host's system",
      () => signedPost(web, PATH, stateBody('web-1', { system: db.system })),
      403,
      'identity_mismatch',
    ],
    [
      'no signature',
      () => post(PATH, { host: AUTHORITY, 'content-type': 'application/json' }, Buffer.from('{}')),
      401,
      'unsigned',
    ],
    [
      'another authority',
      () => patch(signedPost(web, PATH, stateBody('web-1')), { host: 'evil.example.com' }),
      401,
      'signature_refused',
    ],
    ['an unknown field', () => signedPost(web, PATH, stateBody('web-1', { extra: 1 })), 400, 'invalid_body'],
    ['a member twice', () => signedPost(web, PATH, Buffer.from('{"v":1,"v":1}')), 400, 'malformed_json'],
    [
      'a path that is none',
      () => signedPost(web, PATH, stateBody('web-1', { store_path: "'; drop table system; --" })),
      400,
      'invalid_body',
    ],
    [
      'a line break in a text',
      () => signedPost(web, PATH, stateBody('web-1', { revision: 'a\nlevel=error' })),
      400,
      'invalid_body',
    ],
    [
      'a clock ten minutes behind',
      () => signedPost(web, PATH, stateBody('web-1'), new Date(Date.now() - 600_000)),
      401,
      'clock_skew',
    ],
    [
      'a clock ten minutes ahead',
      () => signedPost(web, PATH, stateBody('web-1'), new Date(Date.now() + 600_000)),
      401,
      'clock_skew',
    ],
    [
      'a changed body',
      () => ({ ...signedPost(web, PATH, stateBody('web-1')), body: Buffer.from('{}').toString('base64') }),
      400,
      'digest_mismatch',
    ],
    [
      'a body of 1 MiB and one byte',
      () => signedPost(web, PATH, Buffer.alloc(1024 * 1024 + 1, 0x20)),
      413,
      'body_too_large',
    ],
  ]
  test.each(cases)('%s', async (_, event, status, code) => {
    const before = await stored()
    const answer = await call(reports.handler, event())
    expect(answer).toMatchObject({
      status,
      body: { code, type: `https://crystalforge.dev/problems/${code}` },
    })
    if (code === 'clock_skew') expect(answer.body['server_time']).toBeTypeOf('string')
    expect(await stored()).toEqual(before)
  })
})

function patch(
  event: ReturnType<typeof signedPost>,
  headers: Record<string, string>,
): ReturnType<typeof signedPost> {
  return { ...event, headers: { ...event.headers, ...headers } }
}

test('a configuration that lacks or misspells something says all of it at once', () => {
  expect(() => readConfig({ NEXT_REPORT_IN_S: 'soon' })).toThrow(
    /DATABASE_HOST.*PUBLIC_AUTHORITY.*NEXT_REPORT_IN_S is "soon"/,
  )
})

test('a key whose clock ran ahead is not pinned to its state', async () => {
  const ahead = stateBody('web-1', { collected_at: '2099-01-01T00:00:00Z', agent_version: 'ahead' })
  await call(reports.handler, signedPost(web, PATH, ahead))
  await call(reports.handler, signedPost(web, PATH, stateBody('web-1', { agent_version: 'after' })))
  const { rows } = await database.admin.query(
    'select agent_version from system_current where system_id = $1',
    [web.system],
  )
  expect(rows).toEqual([{ agent_version: 'after' }])
})
