import { createHash } from 'node:crypto'
import { type Arrival, type Reports, recordReport, type VerifiedReport } from '@crystal-forge/control-plane'
import { agentReport, type StateReport, stateDigest } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FleetHost, makeHost, makeTenant, nonce, stateBody } from '../../../test/postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../../../test/postgres/test-database.ts'
import { agentReports } from './agent-reports.ts'
import { findSystemKey } from './system-keys.ts'

let database: TestDatabase
let reports: Reports
let one: FleetHost
let other: FleetHost

beforeAll(async () => {
  database = await createTestDatabase()
  reports = agentReports(database.poolFor('cf_ingest'))
  one = (await makeTenant(database.admin, 'one', ['web-1'])).hosts[0] as FleetHost
  other = (await makeTenant(database.admin, 'other', ['web-1'])).hosts[0] as FleetHost
})
afterAll(() => database.drop())

function arrival(host: FleetHost, more: Partial<Arrival> = {}): Arrival {
  return {
    sender: { kind: 'agent', ...host },
    nonce: nonce(),
    expiresAt: new Date(Date.now() + 120_000),
    receivedAt: new Date(),
    body: Buffer.from(JSON.stringify({ for: host.hostname, random: nonce() })),
    http: { method: 'POST' },
    ...more,
  }
}

function state(
  host: FleetHost,
  more: Record<string, unknown> = {},
  how: Partial<Arrival> = {},
): VerifiedReport {
  return recordReport(agentReport.parse(stateBody(host.hostname, more)), arrival(host, how))
}

function heartbeat(host: FleetHost, digest: string, how: Partial<Arrival> = {}): VerifiedReport {
  const report = {
    v: 1,
    kind: 'heartbeat',
    report_id: nonce(),
    hostname: host.hostname,
    collected_at: new Date().toISOString(),
    state_digest: digest,
  }
  return recordReport(agentReport.parse(report), arrival(host, how))
}

async function rows(sql: string, ...values: unknown[]): Promise<Record<string, unknown>[]> {
  return (await database.admin.query(sql, values)).rows
}

test('a key is found by its id alone, with its tenant, and not when nobody has it', async () => {
  const pool = database.poolFor('cf_ingest')
  expect(await findSystemKey(pool, one.keyId)).toMatchObject({
    status: 'active',
    principal: { tenant: one.tenant, system: one.system, hostname: 'web-1' },
  })
  expect(await findSystemKey(pool, `ed25519:${'A'.repeat(43)}`)).toBeNull()
  expect((await pool.query('select * from system_key')).rows).toEqual([])
})

test('a state is recorded with its evidence, its event and the current row', async () => {
  const report = state(one)
  expect(await reports.ingest(report)).toMatchObject({ kind: 'recorded', as: 'state' })
  const [current] = await rows('select * from system_current where system_id = $1', one.system)
  expect(current).toMatchObject({
    tenant_id: one.tenant,
    state_id: report.state?.id,
    generation: 12,
    failed_units: ['nginx.service'],
    kernel: '6.12.58',
    seen_at: report.receivedAt,
    heartbeat_at: null,
  })
  await audit(one)
})

test('failed units that were not read stay unknown, and are not "none"', async () => {
  const host = await makeHost(database.admin, one.tenant, 'units-1')
  const failedUnits = async (units: unknown): Promise<unknown> => {
    await reports.ingest(state(host, { failed_units: units }))
    const shown = await rows('select failed_units from system_drift where system_id = $1', host.system)
    expect(shown).toEqual(
      await rows('select failed_units from system_current where system_id = $1', host.system),
    )
    return shown[0]?.['failed_units']
  }
  expect(await failedUnits(['a.service'])).toEqual(['a.service'])
  expect(await failedUnits([])).toEqual([])
  expect(await failedUnits(undefined)).toBeNull()
})

test('a heartbeat of the current state keeps one row a day; of another state it is refused', async () => {
  const host = await makeHost(database.admin, one.tenant, 'beat-1')
  const report = state(host)
  expect(await reports.ingest(heartbeat(host, report.digest))).toEqual({ kind: 'state_required' })
  await reports.ingest(report)
  const at = (minute: string): Partial<Arrival> => ({ receivedAt: new Date(`2031-05-06T${minute}Z`) })
  for (const minute of ['00:00:01.000', '00:00:59.999', '10:30:00.000', '23:59:59.000']) {
    expect(await reports.ingest(heartbeat(host, report.digest, at(minute)))).toMatchObject({
      as: 'heartbeat',
    })
  }
  expect(await reports.ingest(heartbeat(host, '0'.repeat(64)))).toEqual({ kind: 'state_required' })
  const [day] = await rows(
    `select beats, day::text, bit_count(minutes)::int as minutes, get_bit(minutes, 0) as first, get_bit(minutes, 630) as middle,
            get_bit(minutes, 1439) as last from heartbeat where system_id = $1`,
    host.system,
  )
  expect(day).toEqual({ beats: 4, day: '2031-05-06', minutes: 3, first: 1, middle: 1, last: 1 })
  expect(await rows('select * from system_state where system_id = $1', host.system)).toHaveLength(1)
})

test('the same request twice at once is recorded once, from one process or two', async () => {
  const second = agentReports(database.poolFor('cf_ingest'))
  for (let round = 0; round < 10; round++) {
    const report = state(one)
    const outcomes = await Promise.all([
      reports.ingest(report),
      second.ingest(report),
      reports.ingest(report),
    ])
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual(['recorded', 'replayed', 'replayed'])
  }
})

test('the same report with a new signature gets the first answer, also when both come at once', async () => {
  const again = agentReports(database.poolFor('cf_ingest'))
  for (let round = 0; round < 10; round++) {
    const first = state(one, {}, { receivedAt: new Date(Date.now() - 5000) })
    const retry = { ...first, nonce: nonce(), receivedAt: new Date() }
    const outcomes = await Promise.all([reports.ingest(first), again.ingest(retry)])
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual(['duplicate', 'recorded'])
    const [a, b] = outcomes
    expect(a).toMatchObject({ receivedAt: 'receivedAt' in b ? b.receivedAt : null })
  }
})

test('a retried heartbeat gets its first answer even when the state has moved on', async () => {
  const host = await makeHost(database.admin, one.tenant, 'beat-2')
  const report = state(host)
  await reports.ingest(report)
  const beat = heartbeat(host, report.digest)
  await reports.ingest(beat)
  await reports.ingest(state(host, { agent_version: '0.3.1' }))
  expect(await reports.ingest({ ...beat, nonce: nonce() })).toMatchObject({
    kind: 'duplicate',
    as: 'heartbeat',
  })
})

test('a revoked key and an inactive system record nothing, not even the nonce', async () => {
  const host = await makeHost(database.admin, one.tenant, 'gone-1')
  await database.admin.query("update system_key set status = 'revoked' where key_id = $1", [host.keyId])
  const report = state(host)
  expect(await reports.ingest(report)).toEqual({ kind: 'refused' })
  await database.admin.query("update system_key set status = 'active' where key_id = $1", [host.keyId])
  await database.admin.query('update system set active = false where id = $1', [host.system])
  expect(await reports.ingest(report)).toEqual({ kind: 'refused' })
  expect((await findSystemKey(database.poolFor('cf_ingest'), host.keyId))?.status).toBe('revoked')
  await database.admin.query('update system set active = true where id = $1', [host.system])
  expect(await reports.ingest(report)).toMatchObject({ kind: 'recorded' })
})

describe('tenants', () => {
  test('a report cannot be written into another tenant', async () => {
    expect(await reports.ingest({ ...state(one), tenant: other.tenant })).toEqual({ kind: 'refused' })
    expect(await reports.ingest({ ...state(one), system: other.system })).toEqual({ kind: 'refused' })
    expect(await rows('select * from system_state where tenant_id = $1', other.tenant)).toEqual([])
  })

  test('what one tenant reported is invisible to the other', async () => {
    await reports.ingest(state(one))
    const pool = database.poolFor('cf_operators')
    const session = await pool.connect()
    try {
      await session.query('begin')
      await session.query("select set_config('cf.tenant', $1, true)", [other.tenant])
      for (const table of ['system', 'system_current', 'system_state']) {
        const { rows: seen } = await session.query(`select tenant_id from ${table} where tenant_id <> $1`, [
          other.tenant,
        ])
        expect(seen, table).toEqual([])
      }
    } finally {
      await session.query('rollback')
      session.release()
    }
  })
})

test('one report that the database cannot take does not fail its neighbours', async () => {
  const hosts = await Promise.all(
    ['n-1', 'n-2', 'n-3'].map((name) => makeHost(database.admin, one.tenant, name)),
  )
  const slow = agentReports(database.poolFor('cf_ingest'))
  const good = hosts.map((host) => state(host))
  const bad = state(one)
  const poisoned = { ...bad, state: bad.state && { ...bad.state, currentPath: 'with \0 inside' } }
  const outcomes = await Promise.allSettled([...good, poisoned].map((report) => slow.ingest(report)))
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected'])
})

test('a statement that fails leaves the signature usable', async () => {
  const report = state(one)
  const broken = { ...report, state: report.state && { ...report.state, facts: { text: '\0' } } }
  await expect(reports.ingest(broken)).rejects.toThrow()
  expect(await reports.ingest(report)).toMatchObject({ kind: 'recorded' })
})

test('when only the answer was lost, the retry says so and nothing is there twice', async () => {
  const pool = database.poolFor('cf_ingest')
  const flaky = agentReports({
    query: (async (...input: Parameters<typeof pool.query>) => {
      await pool.query(...input)
      throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
    }) as typeof pool.query,
  })
  const report = state(one)
  await expect(flaky.ingest(report)).rejects.toThrow('terminated')
  expect(await reports.ingest({ ...report, nonce: nonce() })).toMatchObject({ kind: 'duplicate' })
  await audit(one)
})

test('a state that was collected earlier and comes late is history only', async () => {
  const host = await makeHost(database.admin, one.tenant, 'late-1')
  const newest = state(host, { collected_at: '2026-11-20T12:00:00Z', agent_version: 'new' })
  await reports.ingest(newest)
  const late = state(host, { collected_at: '2026-11-20T11:00:00+02:00', agent_version: 'old' })
  expect(await reports.ingest(late)).toMatchObject({ kind: 'recorded' })
  const [current] = await rows(
    'select agent_version, seen_at from system_current where system_id = $1',
    host.system,
  )
  expect(current).toEqual({ agent_version: 'new', seen_at: late.receivedAt })
  await audit(host)
})

test('any sequence of reports keeps the invariants', async () => {
  const step = fc.record({
    kind: fc.constantFrom('state', 'state', 'heartbeat', 'retry', 'replay'),
    version: fc.integer({ min: 0, max: 3 }),
    minute: fc.integer({ min: 0, max: 59 }),
    pick: fc.nat(20),
  })
  let count = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.boolean(), async (steps, atOnce) => {
      const host = await makeHost(database.admin, one.tenant, `any-${count++}`)
      const sent: VerifiedReport[] = []
      const work = steps.map((next) => {
        const earlier = sent[next.pick % Math.max(sent.length, 1)]
        const report =
          next.kind === 'state' || earlier === undefined
            ? state(host, {
                agent_version: `${next.version}`,
                collected_at: `2026-11-20T12:${String(next.minute).padStart(2, '0')}:00Z`,
              })
            : next.kind === 'heartbeat'
              ? heartbeat(host, earlier.digest)
              : next.kind === 'retry'
                ? { ...earlier, nonce: nonce() }
                : earlier
        sent.push(report)
        return report
      })
      if (atOnce) await Promise.all(work.map((report) => reports.ingest(report)))
      else for (const report of work) await reports.ingest(report)
      await audit(host)
    }),
    { numRuns: 40 },
  )
})

/** Everything that must hold for a host after any step. */
async function audit(host: FleetHost): Promise<void> {
  const states = await rows(
    `select s.*, e.body as evidence, convert_from(a.body, 'UTF8')::jsonb as event, a.body as event_body, p.event_id as pending
     from system_state s
     left join evidence_object e on e.tenant_id = s.tenant_id and e.sha256 = s.evidence_sha256
     left join audit_event a on a.tenant_id = s.tenant_id and convert_from(a.body, 'UTF8')::jsonb -> 'effect' ->> 'id' = s.id
     left join audit_pending p on p.event_id = a.id
     where s.system_id = $1 order by s.collected_at desc, s.received_at desc, s.id desc`,
    host.system,
  )
  for (const row of states) {
    expect(row['pending'], 'every state has an event that waits for its place').not.toBeNull()
    expect(row['event']).toMatchObject({
      tenant: host.tenant,
      type: 'agent.report',
      actor: { kind: 'agent', key: host.keyId, system: host.system },
      evidence: {
        sha256: createHash('sha256')
          .update(row['evidence'] as Buffer)
          .digest('hex'),
      },
    })
  }
  expect(new Set(states.map((row) => row['report_id'])).size, 'a report id is recorded once').toBe(
    states.length,
  )
  const [current] = await rows(
    'select state_id, collected_at, digest from system_current where system_id = $1',
    host.system,
  )
  const time = (row: Record<string, unknown> | undefined): number => Number(row?.['collected_at'])
  const newest = states.filter((row) => time(row) === time(states[0])).map((row) => row['id'])
  if (current !== undefined)
    expect(newest, 'the current row is the newest state').toContain(current['state_id'])
  expect(current === undefined).toBe(states.length === 0)
  const receipts = await rows(
    `select count(*) filter (where kind = 'state')::int as states, count(*) filter (where kind = 'heartbeat')::int as beats
     from report_receipt where system_id = $1`,
    host.system,
  )
  const [beats] = await rows(
    'select coalesce(sum(beats), 0)::int as beats from heartbeat where system_id = $1',
    host.system,
  )
  expect(receipts[0]).toEqual({ states: states.length, beats: beats?.['beats'] })
}

test('the digest is the one that hosts compute', () => {
  const report = agentReport.parse(stateBody('web-1')) as StateReport
  expect(recordReport(report, arrival(one)).digest).toBe(stateDigest(report))
})

test('the current row is found by its key, even by a session that planned while the table was empty', async () => {
  const young = await createTestDatabase()
  try {
    const lookUp = 'explain (generic_plan) select * from system_current where system_id = $1'
    const plan = await young.poolFor('cf_ingest').query(lookUp)
    expect(plan.rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('system_current_pkey')
  } finally {
    await young.drop()
  }
})
