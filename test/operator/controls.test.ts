import { createHash } from 'node:crypto'
import { expireWaivers, inTransaction } from '@crystal-forge/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { reportOf, TOPLEVEL, theCatalogue } from '../controls/demo-host.ts'
import { hostHistory } from './host-history.ts'
import { addToken, type OperatorWorld, operatorWorld, rev } from './world.ts'

const catalogue = theCatalogue()
let world: OperatorWorld

beforeAll(async () => {
  world = await operatorWorld()
  const answer = await world.api('PUT', '/v1/fleet', {
    body: {
      flakes: [{ name: 'fleet', repo_url: 'https://git.example.com/ops/fleet', auto_poll: false }],
      systems: ['web-1', 'web-2'].map((hostname) => ({
        hostname,
        environment: 'production',
        flake_name: 'fleet',
        configuration: 'web-1',
      })),
    },
  })
  expect(answer).toMatchObject({ status: 200, body: { applied: true } })
  await world.database.admin.query(`update system set created_at = now() - interval '400 days'`)
  await world.commits('fleet', [rev('1')])
})
afterAll(() => world.stop())

const HOUR = 3_600_000
const ago = (hours: number): Date => new Date(Date.now() - hours * HOUR)

const { runs, evaluated, showed } = hostHistory(() => world, catalogue)

const statusesOf = (document: string): Map<string, string> =>
  new Map(
    JSON.parse(document).stigs[0].rules.map((rule: { group_id: string; status: string }) => [
      rule.group_id,
      rule.status,
    ]),
  )

async function cklb(
  host: string,
  query = '',
): Promise<{ body: Record<string, string>; statuses: Map<string, string> }> {
  const { status, body } = await world.api('GET', `/v1/exports/cklb?system=${host}${query}`, {
    role: 'viewer',
  })
  expect(status).toBe(200)
  expect(createHash('sha256').update(body.document).digest('hex')).toBe(body.sha256)
  return { body, statuses: statusesOf(body.document) }
}

const count = (statuses: Map<string, string>, wanted: string): number =>
  [...statuses.values()].filter((status) => status === wanted).length

test('a host that has never reported has 103 rules, and none of them is not_a_finding', async () => {
  const { statuses, body } = await cklb('web-1')
  expect(statuses.size).toBe(103)
  expect(count(statuses, 'not_reviewed')).toBe(103)
  expect(body).toMatchObject({ coverage: 0, score: 0 })
})

test('an evaluation alone proves nothing', async () => {
  await runs('web-1', TOPLEVEL, ago(90))
  await evaluated(
    reportOf(catalogue, (rules) => {
      const usb = rules['V-268139']
      if (usb !== undefined)
        rules['V-268139'] = {
          ...usb,
          state: 'justified',
          actual: [],
          justification: ['Virtual machines have no USB ports'],
        }
      const aide = rules['V-268153']
      if (aide !== undefined)
        rules['V-268153'] = {
          ...aide,
          state: 'justified',
          waiver: {
            id: 'no-aide',
            justification: 'Another tool does it',
            approvedBy: 'the boss',
            expires: '2030-01-01',
          },
        }
    }),
    ago(89),
  )
  const { statuses } = await cklb('web-1')
  expect(statuses.size).toBe(103)
  expect(count(statuses, 'not_a_finding')).toBe(0)
  expect(statuses.get('V-268139')).toBe('open')
})

test('with fresh facts rules pass, and each that does was shown by the host', async () => {
  await showed('web-1', ago(70))
  await showed('web-1', ago(1), (fact) =>
    fact.collector === 'sysctl' ? { ...fact, value: { 'net.ipv4.tcp_syncookies': '0' } } : fact,
  )
  const { statuses, body } = await cklb('web-1')
  expect(statuses.size).toBe(103)
  expect(count(statuses, 'not_a_finding')).toBeGreaterThan(70)
  const controls = await world.api('GET', '/v1/systems/web-1/controls')
  expect(controls.body.items).toHaveLength(103)
  for (const item of controls.body.items) {
    expect(statuses.get(item.rule) === 'not_a_finding').toBe(item.state === 'pass')
    if (item.state !== 'pass') continue
    expect(item.host).toMatchObject({ evidence: 'agrees' })
    expect(Date.parse(item.host.fresh_until)).toBeGreaterThan(Date.now())
    expect(item.evidence.some((id: string) => id.startsWith('cfm_'))).toBe(true)
  }
  expect(controls.body).toMatchObject({ coverage: body['coverage'], open_cat_i: expect.any(Number) })
})

test('a contradiction is a state of its own, with the evidence that it rests on', async () => {
  const { body } = await world.api('GET', '/v1/controls?system=web-1&state=contradiction', { role: 'viewer' })
  expect(body.items.map(({ rule }: { rule: string }) => rule)).toContain('V-268141')
  expect(body.items[0]).toMatchObject({
    reason: 'drift',
    evidence: [expect.stringMatching(/^evl_/), expect.stringMatching(/^cfm_/)],
  })
})

test('any time can be asked about', async () => {
  const at = (hours: number): string => `&as_of=${encodeURIComponent(ago(hours).toISOString())}`
  expect(count((await cklb('web-1', at(100))).statuses, 'not_a_finding')).toBe(0)
  expect(count((await cklb('web-1', at(80))).statuses, 'not_a_finding')).toBe(0)
  const then = (await cklb('web-1', at(69))).statuses
  // Before the drift the kernel's parameter was as it should be.
  expect(then.get('V-268141')).toBe('not_a_finding')
  // Two days later most facts were stale.
  expect(count((await cklb('web-1', at(3))).statuses, 'not_a_finding')).toBeLessThan(10)
})

test('an evaluation does not count for a host that holds another report than it', async () => {
  await runs('web-2', TOPLEVEL, ago(50))
  await showed('web-2', ago(1))
  const before = (await world.api('GET', '/v1/controls?system=web-2&rule=V-268137')).body.items[0]
  expect(before).toMatchObject({ state: 'pass', reason: 'proven' })
  await showed('web-2', ago(0.9), (fact) => fact, 'f'.repeat(64))
  const { body } = await world.api('GET', '/v1/systems/web-2/controls')
  expect(body.running.stig_report_sha256).toBe('f'.repeat(64))
  const after = body.items.find(({ rule }: { rule: string }) => rule === 'V-268137')
  expect(after).toMatchObject({
    reason: 'undeclared',
    configuration: { state: 'unknown', defect: expect.stringContaining('another report') },
  })
})

test('an export is an event that names its digest', async () => {
  const { body } = await cklb('web-1')
  const [event] = await world.rows(
    `select convert_from(body, 'UTF8')::jsonb as body from audit_event where type = 'control.exported' order by id desc limit 1`,
  )
  expect(event?.['body']).toMatchObject({
    format: 'cklb',
    sha256: body['sha256'],
    actor: { kind: 'operator', name: 'viewer of a test' },
  })
})

test('the same question gives the same bytes', async () => {
  const query = `&as_of=${encodeURIComponent(ago(0.5).toISOString())}`
  expect((await cklb('web-1', query)).body['sha256']).toBe((await cklb('web-1', query)).body['sha256'])
})

test('what a configuration leaves out arrives as drafts, which change nothing until somebody approves', async () => {
  const { body } = await world.api('GET', '/v1/waivers?state=draft')
  expect(body.items).toHaveLength(2)
  expect(body.items.find(({ name }: { name: string }) => name === 'no-aide')).toMatchObject({
    rules: ['V-268153'],
    source: 'configuration',
    author: 'configuration fleet#web-1',
    claimed: { approvedBy: 'the boss', expires: '2030-01-01' },
    type: null,
  })
  const controls = await world.api('GET', '/v1/systems/web-1/controls')
  expect(controls.body.waiver_claims).toEqual([
    { rule: 'V-268153', waiver: 'no-aide', problem: 'it is draft' },
  ])
  expect(controls.body.accepted_risk_rules).toBe(0)
})

test('a waiver goes from draft to approval by two people, and then the finding is an accepted risk, still open', async () => {
  const inAMonth = new Date(Date.now() + 30 * 24 * HOUR).toISOString()
  const path = '/v1/waivers/no-aide'
  expect(await world.api('POST', `${path}/approve`, { role: 'approver', body: {} })).toMatchObject({
    status: 409,
    body: { code: 'waiver_wrong_state' },
  })
  expect(await world.api('POST', `${path}/submit`, { role: 'operator', body: {} })).toMatchObject({
    status: 409,
    body: { code: 'waiver_incomplete', detail: expect.stringContaining('names no type') },
  })
  const submitted = await world.api('POST', `${path}/submit`, {
    role: 'operator',
    body: { type: 'compensating_control', expires_at: inAMonth },
  })
  expect(submitted).toMatchObject({ status: 200, body: { state: 'submitted', type: 'compensating_control' } })
  expect(await world.api('POST', `${path}/approve`, { role: 'operator', body: {} })).toMatchObject({
    status: 403,
  })
  const approved = await world.api('POST', `${path}/approve`, { role: 'approver', body: { reason: 'seen' } })
  expect(approved).toMatchObject({ status: 200, body: { state: 'approved', approver: 'approver of a test' } })
  expect(approved.body.transitions.map(({ state }: { state: string }) => state)).toEqual([
    'draft',
    'submitted',
    'approved',
  ])
  const { items } = (await world.api('GET', '/v1/controls?system=web-1&rule=V-268153')).body
  expect(items[0]).toMatchObject({
    state: 'open',
    reason: 'justified',
    accepted_risk: { waiver: approved.body.id },
  })
  const { rows } = {
    rows: await world.rows(`select distinct type from audit_event where type like 'waiver.%' order by type`),
  }
  expect(rows.map(({ type }) => type)).toEqual(['waiver.approved', 'waiver.drafted', 'waiver.submitted'])
})

test('before it was approved it was not, whoever asks later', async () => {
  const { body } = await world.api(
    'GET',
    `/v1/systems/web-1/controls?as_of=${encodeURIComponent(ago(0.5).toISOString())}`,
  )
  expect(body.accepted_risk_rules).toBe(0)
})

test('nobody approves what they wrote', async () => {
  const draft = {
    name: 'own-waiver',
    rules: ['V-268078'],
    scope: { kind: 'hosts', hosts: ['web-1'] },
    type: 'risk_accepted',
    justification: 'The firewall is elsewhere',
    expires_at: new Date(Date.now() + 24 * HOUR).toISOString(),
  }
  expect(await world.api('POST', '/v1/waivers', { role: 'approver', body: draft })).toMatchObject({
    status: 201,
    body: { state: 'draft' },
  })
  expect(
    (await world.api('POST', '/v1/waivers/own-waiver/submit', { role: 'operator', body: {} })).status,
  ).toBe(200)
  expect(
    await world.api('POST', '/v1/waivers/own-waiver/approve', { role: 'approver', body: {} }),
  ).toMatchObject({
    status: 409,
    body: { code: 'waiver_own_waiver' },
  })
  // The database refuses it as well, whatever program asks.
  const [waiver] = await world.rows(`select id, tenant_id from waiver where name = 'own-waiver'`)
  await expect(
    world.rows(
      `insert into waiver_transition (tenant_id, waiver_id, step, state, person) values ($1, $2, 9, 'approved', 'approver of a test')`,
      [waiver?.['tenant_id'], waiver?.['id']],
    ),
  ).rejects.toThrow(/cannot be approved by who wrote/)
  await expect(world.rows(`update waiver set expires_at = now()`)).rejects.toThrow(/append-only/)
})

test('a renewal is a new waiver that takes the place of the old one when it is approved', async () => {
  const renewal = {
    name: 'no-aide-2',
    rules: ['V-268153'],
    scope: { kind: 'fleet' },
    type: 'compensating_control',
    justification: 'Still another tool',
    expires_at: new Date(Date.now() + 90 * 24 * HOUR).toISOString(),
    renews: 'no-aide',
  }
  expect((await world.api('POST', '/v1/waivers', { role: 'operator', body: renewal })).status).toBe(201)
  await world.api('POST', '/v1/waivers/no-aide-2/submit', { role: 'operator', body: {} })
  expect((await world.api('GET', '/v1/waivers/no-aide')).body.state).toBe('approved')
  expect(
    (await world.api('POST', '/v1/waivers/no-aide-2/approve', { role: 'approver', body: {} })).status,
  ).toBe(200)
  expect((await world.api('GET', '/v1/waivers/no-aide')).body.state).toBe('renewed')
  await world.api('POST', '/v1/waivers/no-aide-2/revoke', {
    role: 'operator',
    body: { reason: 'the tool is gone' },
  })
  expect((await world.api('GET', '/v1/systems/web-1/controls')).body.accepted_risk_rules).toBe(0)
})

test('a waiver whose time is over is expired at once, and the sweep writes it down once', async () => {
  const [made] = await world.rows(
    `insert into waiver (tenant_id, name, rules, scope, type, justification, source, author, expires_at, created_at)
     values ($1, 'short', '{V-268139}', '{"kind": "environment", "environment": "production"}', 'risk_accepted', 'for a while',
             'operator', 'ada', $2, $3) returning id`,
    [world.tenant, ago(0.2), ago(0.8)],
  )
  for (const [step, state] of ['draft', 'submitted', 'approved'].entries())
    await world.rows(
      `insert into waiver_transition (tenant_id, waiver_id, step, state, person, at) values ($1, $2, $3, $4, $5, $6)`,
      [world.tenant, made?.['id'], step + 1, state, state === 'approved' ? 'grace' : 'ada', ago(0.7)],
    )
  const accepted = async (hours: number): Promise<unknown> => {
    const query = `rule=V-268139&system=web-1&as_of=${encodeURIComponent(ago(hours).toISOString())}`
    return (await world.api('GET', `/v1/controls?${query}`)).body.items[0].accepted_risk
  }
  expect(await accepted(0.75)).toBeNull()
  expect(await accepted(0.5)).toMatchObject({ waiver: made?.['id'] })
  expect(await accepted(0.1)).toBeNull()
  expect((await world.api('GET', '/v1/waivers/short')).body.state).toBe('expired')
  const scheduler = world.database.poolFor('cf_scheduler')
  const sweep = (): Promise<number> =>
    inTransaction(scheduler, { tenant: world.tenant }, (transaction) => expireWaivers(transaction, 10))
  expect(await sweep()).toBe(1)
  expect(await sweep()).toBe(0)
  expect(await world.rows(`select count(*) from audit_event where type = 'waiver.expired'`)).toEqual([
    { count: 1 },
  ])
})

test('an evaluation that says the same again drafts nothing new', async () => {
  const before = await world.rows('select count(*) from waiver')
  await inTransaction(world.database.poolFor('cf_builders'), { tenant: world.tenant }, (transaction) =>
    transaction.query(
      `select draft_waivers(e.configuration_id, e.stig_report) from evaluation e where e.stig_report is not null`,
    ),
  )
  expect(await world.rows('select count(*) from waiver')).toEqual(before)
})

test('a rule that needs a person waits for one, and for a second one', async () => {
  const stateOf = async (): Promise<string> =>
    (await world.api('GET', '/v1/controls?system=web-1&rule=V-268101')).body.items[0].state
  expect(await stateOf()).toBe('not_reviewed')
  const body = {
    system: 'web-1',
    rule: 'V-268101',
    holds: true,
    statement: 'The mail arrived, ticket 4711',
    document_sha256: 'a'.repeat(64),
  }
  const made = await world.api('POST', '/v1/attestations', { role: 'approver', body })
  expect(made).toMatchObject({ status: 201, body: { holds: true, decision: null } })
  expect(await stateOf()).toBe('not_reviewed')
  const path = `/v1/attestations/${made.body.id}/accept`
  expect(await world.api('POST', path, { role: 'approver', body: {} })).toMatchObject({
    status: 409,
    body: { code: 'own_statement' },
  })
  expect(await world.api('POST', path, { role: 'admin', body: {} })).toMatchObject({
    status: 200,
    body: { decision: 'accepted' },
  })
  expect(await stateOf()).toBe('pass')
  await world.api('POST', '/v1/attestations', {
    role: 'operator',
    body: { ...body, holds: false, statement: 'The mail server is gone' },
  })
  expect(await stateOf()).toBe('open')
})

test('a checklist comes back without change; what differs becomes a statement and overrides no contradiction', async () => {
  const { body: exported } = await cklb('web-1')
  const same = await world.api('POST', '/v1/imports', {
    role: 'operator',
    body: { document: exported['document'] },
  })
  expect(same).toMatchObject({ status: 200, body: { same: 103, recorded: 0, statements: [] } })
  const edited = JSON.parse(String(exported['document']))
  for (const rule of edited.stigs[0].rules)
    if (rule.group_id === 'V-268141') Object.assign(rule, { status: 'not_a_finding', comments: 'I looked' })
  const document = JSON.stringify(edited)
  const tried = await world.api('POST', '/v1/imports', {
    role: 'operator',
    body: { document, dry_run: true },
  })
  expect(tried.body).toMatchObject({
    recorded: 0,
    statements: [{ rule: 'V-268141', ours: 'open', theirs: 'pass' }],
  })
  const done = await world.api('POST', '/v1/imports', { role: 'operator', body: { document } })
  expect(done).toMatchObject({ status: 201, body: { recorded: 1 } })
  const listed = await world.api('GET', '/v1/attestations?system=web-1&rule=V-268141')
  expect(listed.body.items[0]).toMatchObject({ source: 'import', holds: true, statement: 'I looked' })
  await world.api('POST', `/v1/attestations/${listed.body.items[0].id}/accept`, { role: 'admin', body: {} })
  expect((await cklb('web-1')).statuses.get('V-268141')).toBe('open')
})

test('a CKL comes back without change as well, and what is no checklist is refused', async () => {
  const exported = async (format: string): Promise<string> =>
    (await world.api('GET', `/v1/exports/${format}?system=web-1`)).body.document
  const importing = (document: string) =>
    world.api('POST', '/v1/imports', { role: 'operator', body: { document } })
  expect(await importing(await exported('ckl'))).toMatchObject({
    status: 200,
    body: { format: 'ckl', same: 103, recorded: 0, statements: [], passed_over: [] },
  })
  for (const format of ['hdf', 'oscal-ar', 'oscal-cd', 'oscal-poam', 'emass'])
    expect(await importing(await exported(format)), format).toMatchObject({
      status: 422,
      body: { detail: expect.stringMatching(/taken are CKLB, CKL, and benchmarks in XCCDF/) },
    })
  expect(await importing(await exported('xccdf'))).toMatchObject({
    status: 409,
    body: { detail: 'V1R2 is in the catalogue already' },
  })
})

test.each(['oscal-ar', 'oscal-cd', 'oscal-poam', 'emass'])('%s holds the fleet', async (format) => {
  const { status, body } = await world.api('GET', `/v1/exports/${format}?fleet=true`)
  expect(status).toBe(200)
  expect(body.hosts).toEqual(['web-1', 'web-2'])
})

test('a list of controls goes on from page to page', async () => {
  const seen: string[] = []
  let cursor = ''
  for (;;) {
    const { body } = await world.api('GET', `/v1/controls?limit=100${cursor}`)
    seen.push(
      ...body.items.map((item: { hostname: string; rule: string }) => `${item.hostname} ${item.rule}`),
    )
    if (body.next_cursor === null) break
    cursor = `&cursor=${body.next_cursor}`
  }
  expect(seen).toHaveLength(206)
  expect(new Set(seen).size).toBe(206)
})

test.each([
  ['GET', '/v1/exports/pdf?system=web-1', undefined, 404, /there are cklb, ckl/],
  ['GET', '/v1/exports/cklb?fleet=true', undefined, 400, /about one host/],
  ['GET', '/v1/exports/cklb', undefined, 400, /either system=<host> or fleet=true/],
  ['GET', '/v1/exports/cklb?system=nobody', undefined, 404, /no system is called "nobody"/],
  [
    'GET',
    '/v1/exports/cklb?system=web-1&as_of=yesterday',
    undefined,
    400,
    /as_of is "yesterday".*a date such as/,
  ],
  ['GET', '/v1/exports/cklb?system=web-1&as_of=2999-01-01', undefined, 400, /has not come/],
  ['GET', '/v1/exports/cklb?system=web-1&release=V9R9', undefined, 400, /the catalogue has V1R1, V1R2/],
  ['GET', '/v1/controls?rule=V-000001', undefined, 422, /rule is "V-000001"/],
  [
    'POST',
    '/v1/attestations',
    { system: 'web-1', rule: 'V-000001', holds: true, statement: 'x'.repeat(20) },
    422,
    /rule is "V-000001"/,
  ],
  [
    'POST',
    '/v1/attestations',
    { system: 'web-1', rule: 'V-268101', holds: 'yes', statement: 'x'.repeat(20) },
    422,
    /holds is "yes"/,
  ],
  [
    'POST',
    '/v1/attestations',
    { system: 'web-1', rule: 'V-268101', holds: true, statement: 'short' },
    422,
    /statement is "short"/,
  ],
  [
    'POST',
    '/v1/attestations',
    { system: 'web-1', rule: 'V-268101', holds: true, statement: 'x'.repeat(20), expires_in_days: 3000 },
    422,
    /expires_in_days is 3000/,
  ],
  [
    'POST',
    '/v1/waivers',
    {
      name: 'x',
      rules: ['V-000001'],
      scope: { kind: 'fleet' },
      type: 'risk_accepted',
      justification: 'x'.repeat(20),
      expires_at: '2020-01-01T00:00:00Z',
    },
    422,
    /rule is "V-000001"/,
  ],
  [
    'POST',
    '/v1/waivers',
    {
      name: 'x',
      rules: ['V-268078'],
      scope: { kind: 'fleet' },
      type: 'risk_accepted',
      justification: 'x'.repeat(20),
      expires_at: '2020-01-01T00:00:00Z',
    },
    422,
    /must lie in the next 365 days/,
  ],
  ['POST', '/v1/imports', { document: '{"title":1}' }, 422, /the checklist cannot be read: /],
  ['POST', '/v1/imports', { document: '<Benchmark></Benchmark>' }, 422, /the benchmark cannot be read: /],
  ['POST', '/v1/imports', { document: '<CHECKLIST>&#0;</CHECKLIST>' }, 422, /"&#0;" is no entity/],
  [
    'POST',
    '/v1/imports',
    {
      document: String.raw`{"title":"x","id":"1","target_data":{"host_name":"web-1\u0000"},"stigs":[{"stig_id":"Anduril_NixOS_STIG","rules":[]}]}`,
    },
    422,
    /target_data.host_name: expected text without NUL/,
  ],
] as const)('%s %s is refused in one sentence', async (method, path, body, status, words) => {
  const before = await world.rows('select count(*) from audit_event')
  const answer = await world.api(method, path, body === undefined ? {} : { body })
  expect(answer.status).toBe(status)
  expect(answer.body.detail).toMatch(words)
  expect(await world.rows('select count(*) from audit_event')).toEqual(before)
})

test.each([
  ['cf_controls', `insert into control_facts (id) values ('x')`],
  ['cf_controls', `update evaluation set stig_report = null`],
  ['cf_controls', `insert into system_state (id) values ('x')`],
  ['cf_controls', `update system set hostname = 'x'`],
  ['cf_controls', `update waiver set expires_at = now()`],
  ['cf_controls', `insert into job (id) values ('x')`],
  ['cf_controls', `select * from builder_key`],
  ['cf_operators', `insert into waiver (id) values ('x')`],
  ['cf_operators', `insert into control_evidence (id) values ('x')`],
])('%s may not %s', async (role, statement) => {
  await expect(
    inTransaction(world.database.poolFor(role), { tenant: world.tenant }, (transaction) =>
      transaction.query(statement),
    ),
  ).rejects.toThrow(/permission denied/)
})

test('another tenant sees none of it', async () => {
  const [other] = await world.rows(`insert into tenant (name) values ('other') returning id`)
  const token = await addToken(world.database, String(other?.['id']), 'admin')
  for (const path of ['/v1/waivers', '/v1/attestations', '/v1/controls']) {
    const response = await fetch(`${world.url}${path}`, { headers: { authorization: `Bearer ${token}` } })
    expect(await response.json()).toMatchObject({ items: [] })
  }
})
