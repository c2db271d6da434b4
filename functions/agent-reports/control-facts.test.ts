import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AUTHORITY,
  call,
  databaseEnvironment,
  type FleetHost,
  makeTenant,
  signedPost,
} from '../../test/postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../../test/postgres/test-database.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

const PATH = '/v1/agent/control-facts'
let database: TestDatabase
let reports: ReturnType<typeof app>
let web: FleetHost
let db: FleetHost
let messages = 0

beforeAll(async () => {
  database = await createTestDatabase()
  const { hosts } = await makeTenant(database.admin, 'one', ['web-1', 'db-1'])
  web = hosts[0] as FleetHost
  db = hosts[1] as FleetHost
  const environment = { ...databaseEnvironment(database.url, 'cf_ingest'), PUBLIC_AUTHORITY: AUTHORITY }
  reports = app(readConfig(environment), { log: () => undefined })
})
afterAll(async () => {
  await reports.close()
  await database.drop()
})

function message(more: Record<string, unknown> = {}): Record<string, unknown> {
  messages++
  return {
    v: 1,
    message_id: `facts-${String(messages).padStart(16, '0')}`,
    hostname: 'web-1',
    collected_at: '2026-11-22T19:30:00Z',
    boot_id: '6a7e7e5c-6f1d-4d0e-9c55-0d8cf5a3c001',
    current_path: `/nix/store/${'0'.repeat(32)}-nixos-system-web-1-25.11`,
    booted_path: null,
    stig_report_sha256: 'a'.repeat(64),
    sequence: 1,
    previous_sha256: null,
    agent_version: '0.3.0',
    facts: [
      {
        collector: 'sysctl',
        args: { names: ['kernel.kptr_restrict'] },
        collected_at: '2026-11-22T19:30:00Z',
        value: { 'kernel.kptr_restrict': '1' },
      },
      {
        collector: 'audit-rules',
        args: {},
        collected_at: '2026-11-22T19:30:01Z',
        error: { code: 'absent', detail: 'there is no auditctl in the system profile' },
      },
    ],
    ...more,
  }
}

const send = (body: object | Uint8Array, host: FleetHost = web) =>
  call(reports.handler, signedPost(host, PATH, body))

async function stored(): Promise<unknown> {
  const { rows } = await database.admin.query(
    `select (select count(*)::int from control_facts) as facts, (select count(*)::int from request_nonce) as nonces,
            (select count(*)::int from audit_event) as events, (select count(*)::int from evidence_object) as evidence`,
  )
  return rows[0]
}

test('facts are kept as they came, with the signed bytes and an event; a retry is recorded once', async () => {
  const body = message()
  const first = await send(body)
  expect(first).toMatchObject({ status: 202, body: { server_time: expect.any(String) } })
  expect(await send(body)).toEqual({ status: 200, body: first.body })
  const { rows } = await database.admin.query(
    `select f.facts, f.current_path, encode(f.stig_report_sha256, 'hex') as report, f.sequence::int, f.system_id,
            convert_from(e.body, 'UTF8')::jsonb as signed, convert_from(a.body, 'UTF8')::jsonb as event
     from control_facts f join evidence_object e on e.sha256 = f.evidence_sha256
     join audit_event a on convert_from(a.body, 'UTF8')::jsonb -> 'effect' ->> 'id' = f.id where f.message_id = $1`,
    [body['message_id']],
  )
  expect(rows).toEqual([
    {
      facts: body['facts'],
      current_path: body['current_path'],
      report: 'a'.repeat(64),
      sequence: 1,
      system_id: web.system,
      signed: body,
      event: expect.objectContaining({
        type: 'agent.control_facts',
        actor: { kind: 'agent', key: web.keyId, system: web.system },
        sequence: 1,
      }),
    },
  ])
})

test('the same request twice is one 202 and one 409', async () => {
  const event = signedPost(web, PATH, message())
  const answers = await Promise.all([call(reports.handler, event), call(reports.handler, event)])
  expect(answers.map(({ status }) => status).sort((a, b) => Number(a) - Number(b))).toEqual([202, 409])
})

test('what was recorded can neither be changed nor taken away', async () => {
  await send(message())
  for (const statement of [
    'delete from control_facts',
    "update control_facts set agent_version = ''",
    'truncate control_facts',
  ])
    await expect(database.admin.query(statement)).rejects.toThrow('append-only')
})

test('a revocation holds for the very next message of a key that was just in use', async () => {
  const own = (): object => message({ hostname: 'db-1' })
  expect((await send(own(), db)).status).toBe(202)
  await database.admin.query("update system_key set status = 'revoked' where key_id = $1", [db.keyId])
  expect(await send(own(), db)).toMatchObject({ status: 401, body: { code: 'signature_refused' } })
})

describe('refused, and nothing changes', () => {
  const fact = { collector: 'sysctl', args: {}, collected_at: '2026-11-22T19:30:00Z' }
  let deep: unknown = 'x'
  for (let level = 0; level < 9; level++) deep = [deep]
  test.each<[string, Record<string, unknown>, number, string]>([
    ["another host's name", { hostname: 'db-1' }, 403, 'identity_mismatch'],
    ['an unknown field', { verdict: 'pass' }, 400, 'invalid_body'],
    [
      'a value together with an error',
      { facts: [{ ...fact, value: 1, error: { code: 'absent', detail: '' } }] },
      400,
      'invalid_body',
    ],
    ['neither value nor error', { facts: [fact] }, 400, 'invalid_body'],
    ['a value with NUL', { facts: [{ ...fact, value: { a: ['b\0'] } }] }, 400, 'invalid_body'],
    ['a name with NUL', { facts: [{ ...fact, value: { 'a\0': 1 } }] }, 400, 'invalid_body'],
    ['a value of nine levels', { facts: [{ ...fact, value: deep }] }, 400, 'invalid_body'],
    ['a collector with a path', { facts: [{ ...fact, collector: '../x', value: 1 }] }, 400, 'invalid_body'],
    [
      'an error of its own invention',
      { facts: [{ ...fact, error: { code: 'fine', detail: '' } }] },
      400,
      'invalid_body',
    ],
    [
      'more facts than a message holds',
      { facts: Array(257).fill({ ...fact, value: 1 }) },
      400,
      'invalid_body',
    ],
    ['a system that is no store path', { current_path: '/run/current-system' }, 400, 'invalid_body'],
    ['a sequence of none', { sequence: 0 }, 400, 'invalid_body'],
  ])('%s', async (_, more, status, code) => {
    const before = await stored()
    expect(await send(message(more))).toMatchObject({ status, body: { code } })
    expect(await stored()).toEqual(before)
  })
})
