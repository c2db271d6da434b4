import { type SecretSeed, signEd25519 } from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AUTHORITY,
  call,
  databaseEnvironment,
  type FleetHost,
  makeHost,
  makeTenant,
  post,
  signedPost,
  stateBody,
} from '../../test/postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../../test/postgres/test-database.ts'
import { app as reportsApp } from '../agent-reports/app.ts'
import { readConfig as readReportsConfig } from '../agent-reports/config.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

let database: TestDatabase
let original: ReturnType<typeof app>
let tenant: string
let count = 0
let clock = Date.parse('2026-11-22T19:30:00Z')

beforeAll(async () => {
  database = await createTestDatabase()
  tenant = (await makeTenant(database.admin, 'one', [])).tenant
  await database.admin.query("update tenant set original_wire_until = '2027-01-01' where id = $1", [tenant])
  original = app(readConfig(databaseEnvironment(database.url, 'cf_ingest')), {
    log: (level, message, fields) => level === 'error' && console.error(message, fields),
    now: () => new Date(clock),
  })
})
afterAll(async () => {
  await original.close()
  await database.drop()
})

async function legacyHost(name = `legacy-${count++}`, of = tenant): Promise<FleetHost> {
  const host = await makeHost(database.admin, of, name)
  await database.admin.query("update system_key set original_wire_until = '2027-01-01' where key_id = $1", [
    host.keyId,
  ])
  return host
}

/** A report of an 0.2.x agent; each comes one second after the one before. */
function report(host: FleetHost, more: Record<string, unknown> = {}): Record<string, unknown> {
  clock += 1000
  return {
    id: null,
    hostname: host.hostname,
    timestamp: new Date(clock).toISOString(),
    change_reason: 'startup',
    store_path: '/nix/store/abc-nixos-system-25.11',
    os: '25.11',
    memory_gb: 7943.5,
    uptime_secs: 100 + count++,
    network_interfaces: '[{"name":"eth0","mac_address":"aa:bb","ip_addresses":["192.0.2.7"]}]',
    secure_boot_enabled: false,
    agent_compatible: true,
    partial_data: false,
    ...more,
  }
}

function signed(
  path: string,
  body: object,
  host: { hostname: string; seed: SecretSeed },
): APIGatewayProxyEventV2 {
  const bytes = Buffer.from(JSON.stringify(body))
  const signature = Buffer.from(signEd25519(bytes, host.seed)).toString('base64')
  return post(path, { host: 'cf:3000', 'x-key-id': host.hostname, 'x-signature': signature }, bytes)
}

async function send(
  path: string,
  body: object,
  host: { hostname: string; seed: SecretSeed },
): ReturnType<typeof call> {
  return call(original.handler, signed(path, body, host))
}

async function history(host: FleetHost): Promise<Record<string, unknown>[]> {
  const { rows } = await database.admin.query(
    'select change_reason, assurance, facts from system_state where system_id = $1 order by received_at, id',
    [host.system],
  )
  return rows
}

describe('what is recorded', () => {
  test('a startup over the heartbeat route is a state: mebibytes are bytes, secure boot is unknown, interfaces are read', async () => {
    const host = await legacyHost()
    expect(await send('/agent/heartbeat', report(host), host)).toEqual({
      status: 200,
      body: { desired_target: null },
    })
    const [state] = await history(host)
    expect(state).toMatchObject({
      change_reason: 'startup',
      assurance: 'legacy',
      facts: {
        fingerprint: {
          memory_bytes: 8_329_363_456,
          secure_boot_enabled: null,
          network_interfaces: [{ name: 'eth0', mac_address: 'aa:bb', ip_addresses: ['192.0.2.7'] }],
        },
      },
    })
    const { rows } = await database.admin.query(
      `select convert_from(a.body, 'UTF8')::jsonb ->> 'assurance' as assurance, convert_from(e.body, 'UTF8')::jsonb ->> 'hostname' as hostname
       from system_state s join audit_event a on convert_from(a.body, 'UTF8')::jsonb -> 'effect' ->> 'id' = s.id
       join evidence_object e on e.sha256 = s.evidence_sha256 where s.system_id = $1`,
      [host.system],
    )
    expect(rows).toEqual([{ assurance: 'legacy', hostname: host.hostname }])
  })

  test('a heartbeat that says nothing new is a heartbeat; one that differs is a state_delta', async () => {
    const host = await legacyHost()
    await send('/agent/heartbeat', report(host), host)
    for (const same of [{}, { uptime_secs: 999 }, { id: 5 }, { agent_compatible: false }]) {
      await send('/agent/heartbeat', report(host, { change_reason: 'heartbeat', ...same }), host)
    }
    expect(await history(host)).toHaveLength(1)
    await send('/agent/heartbeat', report(host, { change_reason: 'heartbeat', kernel: '6.12' }), host)
    expect((await history(host)).map((row) => row['change_reason'])).toEqual(['startup', 'state_delta'])
    const { rows } = await database.admin.query(
      'select sum(beats)::int as beats from heartbeat where system_id = $1',
      [host.system],
    )
    expect(rows).toEqual([{ beats: 4 }])
  })

  test.each(['/agent/state', '/system_state'])(
    '%s always stores a state and answers without a body',
    async (path) => {
      const host = await legacyHost()
      for (let round = 0; round < 2; round++) {
        expect(await send(path, report(host, { change_reason: 'heartbeat' }), host)).toEqual({
          status: 200,
          body: {},
        })
      }
      expect(await history(host)).toHaveLength(2)
    },
  )

  test('a payload of version 1 is answered 202', async () => {
    const host = await legacyHost()
    const { change_reason, agent_compatible, partial_data, ...v1 } = report(host)
    expect((await send('/agent/state', { ...v1, context: 'agent-startup' }, host)).status).toBe(202)
    expect((await history(host))[0]).toMatchObject({ facts: { agent_compatible: false, partial_data: true } })
  })
})

describe('what is refused, without a trace', () => {
  test('a signature is accepted once, on whichever route it comes again, and time only moves forward', async () => {
    const host = await legacyHost()
    const body = report(host)
    expect((await send('/agent/state', body, host)).status).toBe(200)
    for (const path of ['/agent/state', '/agent/heartbeat', '/system_state']) {
      expect((await send(path, body, host)).status).toBe(401)
    }
    const older = { ...body, timestamp: new Date(clock - 1).toISOString() }
    expect((await send('/agent/state', older, host)).status).toBe(401)
    expect(await history(host)).toHaveLength(1)
  })

  test('the same report three times at once is recorded once', async () => {
    const host = await legacyHost()
    const body = report(host)
    const answers = await Promise.all(
      ['/agent/state', '/agent/heartbeat', '/system_state'].map((path) => send(path, body, host)),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401])
    expect(await history(host)).toHaveLength(1)
  })

  test('a key that has signed the way of our own agents does not go back', async () => {
    const host = await legacyHost()
    const environment = { ...databaseEnvironment(database.url, 'cf_ingest'), PUBLIC_AUTHORITY: AUTHORITY }
    const reports = reportsApp(readReportsConfig(environment), { log: console.error })
    try {
      expect((await send('/agent/state', report(host), host)).status).toBe(200)
      expect(
        (await call(reports.handler, signedPost(host, '/v1/agent/reports', stateBody(host.hostname)))).status,
      ).toBe(202)
      expect((await send('/agent/state', report(host), host)).status).toBe(401)
    } finally {
      await reports.close()
    }
  })

  const cases: [
    string,
    (host: FleetHost) => Promise<APIGatewayProxyEventV2> | APIGatewayProxyEventV2,
    number,
  ][] = [
    [
      'another host in the body',
      (host) => signed('/agent/state', report(host, { hostname: 'web-1' }), host),
      401,
    ],
    [
      'a time five minutes and one second ago',
      (host) =>
        signed('/agent/state', report(host, { timestamp: new Date(clock - 301_000).toISOString() }), host),
      401,
    ],
    ['no time at all', (host) => signed('/agent/state', report(host, { timestamp: null }), host), 400],
    ['no store path', (host) => signed('/agent/state', report(host, { store_path: null }), host), 400],
    [
      'an unknown reason',
      (host) => signed('/agent/state', report(host, { change_reason: 'whim' }), host),
      400,
    ],
    ['a NUL in a text', (host) => signed('/agent/state', report(host, { kernel: '6\u0000' }), host), 400],
    ['an unknown host', (host) => signed('/agent/state', report(host), { ...host, hostname: 'nobody' }), 401],
    [
      'another key',
      async (host) =>
        signed('/agent/state', report(host), { ...(await legacyHost()), hostname: host.hostname }),
      401,
    ],
    [
      'no signature',
      (host) =>
        post('/agent/state', { 'x-key-id': host.hostname }, Buffer.from(JSON.stringify(report(host)))),
      401,
    ],
    [
      'a signature that is not base64',
      (host) => post('/agent/state', { 'x-key-id': host.hostname, 'x-signature': '%%' }, Buffer.from('{}')),
      400,
    ],
    ['a revoked key', withRow("update system_key set status = 'revoked' where system_id = $1"), 401],
    ['an inactive system', withRow('update system set active = false where id = $1'), 401],
    [
      'a key whose time is over',
      withRow("update system_key set original_wire_until = '2026-01-01' where system_id = $1"),
      401,
    ],
    [
      'a key that was never allowed',
      withRow('update system_key set original_wire_until = null where system_id = $1'),
      401,
    ],
  ]
  test.each(cases)('%s', async (_, event, status) => {
    const host = await legacyHost()
    expect((await call(original.handler, await event(host))).status).toBe(status)
    expect(await history(host)).toEqual([])
  })

  test('everything, while the tenant has not switched it on', async () => {
    const off = (await makeTenant(database.admin, 'off', [])).tenant
    const host = await legacyHost('web-off', off)
    expect((await send('/agent/state', report(host), host)).status).toBe(401)
  })
})

function withRow(sql: string): (host: FleetHost) => Promise<APIGatewayProxyEventV2> {
  return async (host) => {
    await database.admin.query(sql, [host.system])
    return signed('/agent/state', report(host), host)
  }
}

test('a host name that several tenants know belongs to the one whose key signed', async () => {
  const second = (await makeTenant(database.admin, 'second', [])).tenant
  await database.admin.query("update tenant set original_wire_until = '2027-01-01' where id = $1", [second])
  const ours = await legacyHost('shared-name')
  const theirs = await legacyHost('shared-name', second)
  expect((await send('/agent/state', report(theirs), theirs)).status).toBe(200)
  expect([await history(ours), await history(theirs)].map((rows) => rows.length)).toEqual([0, 1])
})
