import { inTransaction, recordEvent } from '@crystal-forge/postgres'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeHost, makeTenant } from './agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

const PROGRAMS = [
  'cf_ingest',
  'cf_enroll',
  'cf_hooks',
  'cf_builders',
  'cf_cache',
  'cf_operators',
  'cf_controls',
  'cf_scheduler',
  'cf_status',
] as const
const ROLES = [...PROGRAMS, 'cf_dashboards'] as const

let database: TestDatabase
const pools = new Map<string, pg.Pool>()
const tenants: string[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  for (const role of ROLES) pools.set(role, database.poolFor(role))
  for (const name of ['one', 'two']) {
    const { tenant } = await makeTenant(database.admin, name, [])
    tenants.push(tenant)
    await makeHost(database.admin, tenant, `host-of-${name}`)
    await fill(tenant)
  }
})
afterAll(() => database.drop())

function poolOf(role: string): pg.Pool {
  const pool = pools.get(role)
  if (pool === undefined) throw new Error(`${role} has no pool`)
  return pool
}

/** One row in each of the tables whose rows would hurt most in wrong hands. */
async function fill(tenant: string): Promise<void> {
  await inTransaction(database.admin, { tenant }, async (transaction) => {
    for (const sql of [
      `insert into flake (tenant_id, name, repository_url, source) values (cf_tenant(), 'fleet', 'https://x.example.com/f', '{}')`,
      `insert into environment (tenant_id, name) values (cf_tenant(), 'production') on conflict do nothing`,
      `insert into builder (tenant_id, name) values (cf_tenant(), 'builder-1')`,
      `insert into job (tenant_id, kind, subject, payload) select cf_tenant(), 'resolve', id, '{}' from flake where tenant_id = cf_tenant()`,
      `insert into derivation (tenant_id, drv_path, out_path, name) values (cf_tenant(), '/nix/store/' || repeat('a', 32) || '-x.drv', '/nix/store/' || repeat('a', 32) || '-x', 'x')`,
      `insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at)
       values (cf_tenant(), 'x', 'admin', encode(sha256(cf_tenant()::bytea), 'hex'), 'test', now() + interval '1 day')`,
      `insert into enroll_token (tenant_id, key_id, public_key, hostname_pattern, created_by, expires_at)
       values (cf_tenant(), 'ed25519:' || cf_tenant(), sha256(cf_tenant()::bytea), '*', 'test', now() + interval '1 hour')`,
      `insert into evidence_object (tenant_id, sha256, body) values (cf_tenant(), sha256(cf_tenant()::bytea), cf_tenant()::bytea)`,
    ])
      await transaction.query(sql)
    await recordEvent(transaction, { type: 'config.changed', actor: { kind: 'system' }, detail: {} })
  })
}

/** What each program must not do, as somebody would try who has taken it over. Its grants are in migrations/views/zz-grants-*.sql. */
const FORBIDDEN: Record<(typeof ROLES)[number], readonly (readonly [string, string])[]> = {
  cf_ingest: [
    ['read tokens of operators', 'select token_sha256 from api_token'],
    ['read keys of builders', 'select from builder_key'],
    ['read tokens of enrolment', 'select from enroll_token'],
    ['register a host', 'insert into system default values'],
    ['give a host another target', 'update system set desired_target = null where false'],
    ['give a host another key', 'insert into system_key default values'],
    ['bring a revoked key back', `update system_key set status = 'active' where false`],
    ['start work', 'insert into job default values'],
    ['forget a report', 'delete from system_state where false'],
    ['change a report', 'update system_state set current_path = null where false'],
    ['read the evidence log', 'select from audit_event'],
  ],
  cf_enroll: [
    ['read reports', 'select from system_state'],
    ['read the evidence log', 'select from audit_event'],
    ['read what was signed', 'select from evidence_object'],
    ['read tokens of operators', 'select from api_token'],
    ['make a token', 'insert into enroll_token default values'],
    ['give a token more time', 'update enroll_token set expires_at = now() where false'],
    ['give a used token back', 'update enroll_token set revoked_at = null where false'],
    ['change the policy of a host', `update system set policy = 'auto_latest' where false`],
    ['exchange a key under its id', 'update system_key set public_key = null where false'],
    ['start work', 'insert into job default values'],
  ],
  cf_hooks: [
    ['read hosts', 'select from system'],
    ['read tokens of operators', 'select from api_token'],
    ['change the secret of a hook', 'update hook set active = true where false'],
    ['watch another repository', 'update flake set repository_url = null where false'],
    ['make a commit', 'insert into commit default values'],
    ['forget a delivery', 'delete from hook_delivery where false'],
    ['read the evidence log', 'select from audit_event'],
  ],
  cf_builders: [
    ['read tokens of operators', 'select from api_token'],
    ['read keys of hosts', 'select from system_key'],
    ['read secrets of hooks', 'select from hook'],
    ['read reports', 'select from system_state'],
    ['write a report', 'insert into system_state default values'],
    ['watch another repository', 'update flake set repository_url = null where false'],
    ['give a host another target', 'update system set desired_target = null where false'],
    ['register a key', 'insert into builder_key default values'],
    ['bring a builder back', 'update builder set active = true where false'],
    ['publish a path', 'insert into store_path default values'],
    ['forget a job', 'delete from job where false'],
    ['approve a deployment', 'insert into approval default values'],
  ],
  cf_cache: [
    ['finish a job', `update job set state = 'succeeded' where false`],
    ['read where sources are', 'select from flake'],
    ['read hosts', 'select from system'],
    ['read tokens of operators', 'select from api_token'],
    ['write an evaluation', 'insert into evaluation default values'],
    ['put other contents under a path', 'update store_path set nar_hash = null where false'],
    ['forget a closure', 'delete from closure where false'],
    ['read the evidence log', 'select from audit_event'],
  ],
  cf_operators: [
    ['change the evidence log', `update audit_event set type = 'x' where false`],
    ['forget evidence', 'delete from evidence_object where false'],
    ['read what was signed', 'select from evidence_object'],
    ['delete a host', 'delete from system where false'],
    ['delete a job', 'delete from job where false'],
    ['raise the role of a token', `update api_token set role = 'admin' where false`],
    ['put another token in the place of one', 'update api_token set token_sha256 = null where false'],
    ['give a token to another person', 'update api_token set subject = null where false'],
    ['prolong a token', 'update api_token set expires_at = now() where false'],
    ['exchange the key of a host under its id', 'update system_key set public_key = null where false'],
    ['give a key to another host', 'update system_key set system_id = null where false'],
    ['exchange the key of a builder under its id', 'update builder_key set public_key = null where false'],
    ['exchange a token of enrolment', 'update enroll_token set public_key = null where false'],
    ['use a token of enrolment up', 'update enroll_token set used_at = now() where false'],
    ['write a report', 'insert into system_state default values'],
    ['write an evaluation', 'insert into evaluation default values'],
    ['write a finding', 'insert into finding default values'],
    ['make a finding go away', 'delete from finding where false'],
    ['write a waiver', 'insert into waiver default values'],
    ['publish a path', 'insert into store_path default values'],
    ['spend a nonce', 'insert into request_nonce default values'],
  ],
  cf_controls: [
    ['change a waiver', 'update waiver set expires_at = now() where false'],
    ['forget who approved', 'delete from waiver_transition where false'],
    ['change evidence of a control', 'update control_evidence set holds = true where false'],
    ['write facts of a host', 'insert into control_facts default values'],
    ['change facts of a host', 'update control_facts set current_path = null where false'],
    ['write a report', 'insert into system_state default values'],
    ['change an evaluation', 'update evaluation set stig_report = null where false'],
    ['change a token', 'update api_token set revoked_at = null where false'],
    ['read keys of hosts', 'select from system_key'],
    ['read tokens of enrolment', 'select from enroll_token'],
    ['read secrets of hooks', 'select from hook'],
  ],
  cf_scheduler: [
    ['read secrets of hooks', 'select from hook'],
    ['read tokens of operators', 'select token_sha256 from api_token'],
    ['read keys of hosts', 'select public_key from system_key'],
    ['read reports', 'select from system_state'],
    ['register a host', 'insert into system default values'],
    ['give a host another target', 'update system set desired_target = null where false'],
    ['forget a job', 'delete from job where false'],
    ['forget an event', 'delete from audit_event where false'],
    ['forget a report', 'delete from system_state where false'],
    ['write a waiver', 'insert into waiver default values'],
    ['order a deployment', 'insert into deployment default values'],
    ['approve a deployment', 'insert into approval default values'],
  ],
  cf_status: [
    ['read keys', 'select from system_key'],
    ['read secrets of hooks', 'select from hook'],
    ['read the evidence log', 'select from audit_event'],
    ['start work', 'insert into job default values'],
    ['stop work', `update job set state = 'cancelled' where false`],
    ['change a token', 'update api_token set revoked_at = null where false'],
  ],
  cf_dashboards: [
    ['read tokens of operators', 'select from api_token'],
    ['read secrets of hooks', 'select from hook'],
    ['read keys of hosts', 'select from system_key'],
    ['read what was signed', 'select from evidence_object'],
    ['read the answers of collectors', 'select facts from control_facts'],
    ['change a host', 'update system set active = false where false'],
  ],
}

describe.each(ROLES)('%s may not', (role) => {
  test.each(FORBIDDEN[role])('%s', async (_what, sql) => {
    const trying = inTransaction(poolOf(role), { tenant: tenants[0] ?? '' }, (transaction) =>
      transaction.query(sql),
    )
    await expect(trying).rejects.toMatchObject({
      code: '42501',
      message: expect.stringContaining('permission denied'),
    })
  })

  test('make, change or own anything of the schema, or act as another role', async () => {
    const others = ROLES.filter((other) => other !== role)
    for (const sql of [
      'create table mine (id text)',
      'create or replace function cf_tenant() returns text language sql as $$ select null $$',
      'alter table audit_event disable trigger all',
      'alter table system disable row level security',
      'drop policy tenant on system',
      'truncate audit_event',
      ...others.map((other) => `set role ${other}`),
    ])
      await expect(
        inTransaction(poolOf(role), { tenant: tenants[0] ?? '' }, (transaction) => transaction.query(sql)),
        sql,
      ).rejects.toMatchObject({ code: '42501' })
  })
})

describe('a program that serves one tenant', () => {
  const TABLES = [
    'flake',
    'environment',
    'builder',
    'job',
    'derivation',
    'system',
    'system_key',
    'api_token',
    'enroll_token',
    'evidence_object',
    'audit_event',
  ]

  test.each(TABLES)('sees no %s of another one, whichever program it is', async (table) => {
    const all = await database.admin.query(`select distinct tenant_id from ${table}`)
    expect(all.rows.length, 'both tenants have rows').toBe(2)
    let readers = 0
    for (const role of PROGRAMS) {
      const seen = await inTransaction(poolOf(role), { tenant: tenants[0] ?? '' }, async (transaction) => {
        const granted = `select has_column_privilege('${table}', 'tenant_id', 'select') as granted`
        const [may] = (await transaction.query<{ granted: boolean }>(granted)).rows
        if (may?.granted !== true) return null
        return (await transaction.query<{ tenant_id: string }>(`select tenant_id from ${table}`)).rows
      })
      if (seen === null) continue
      readers += 1
      expect(new Set(seen.map(({ tenant_id }) => tenant_id)), role).toEqual(new Set([tenants[0]]))
    }
    if (table !== 'evidence_object') expect(readers).toBeGreaterThan(0)
  })

  test.each(TABLES)('sees no %s at all before it has said whom it serves', async (table) => {
    for (const role of PROGRAMS) {
      const { rows } = await poolOf(role).query(
        `select has_column_privilege('${table}', 'tenant_id', 'select') as granted`,
      )
      if (rows[0].granted !== true) continue
      expect((await poolOf(role).query(`select tenant_id from ${table}`)).rows, role).toEqual([])
    }
  })

  test.each([
    [
      'cf_operators',
      `insert into flake (tenant_id, name, repository_url, source) values ($1, 'x', 'x', '{}')`,
    ],
    ['cf_operators', `insert into builder (tenant_id, name) values ($1, 'theirs')`],
    ['cf_operators', `update system set tenant_id = $1`],
    ['cf_hooks', `insert into job (tenant_id, kind, subject, payload) values ($1, 'resolve', 'x', '{}')`],
    [
      'cf_builders',
      `insert into derivation (tenant_id, drv_path, out_path, name) values ($1, '/nix/store/' || repeat('b', 32) || '-x.drv', '/nix/store/' || repeat('b', 32) || '-x', 'x')`,
    ],
    ['cf_ingest', `insert into evidence_object (tenant_id, sha256, body) values ($1, sha256('x'), 'x')`],
    ['cf_enroll', `insert into system (tenant_id, hostname) values ($1, 'theirs')`],
    ['cf_scheduler', `insert into job (tenant_id, kind, subject, payload) values ($1, 'resolve', 'x', '{}')`],
  ])('cannot write for another one: %s, %s', async (role, sql) => {
    const trying = inTransaction(poolOf(role), { tenant: tenants[0] ?? '' }, (transaction) =>
      transaction.query(sql, [tenants[1]]),
    )
    await expect(trying).rejects.toMatchObject({
      code: '42501',
      message: expect.stringContaining('row-level security'),
    })
  })
})

describe('the evidence log', () => {
  test.each(['audit_event', 'evidence_object'])('%s is only added to, also by its owner', async (table) => {
    for (const sql of [
      `update ${table} set body = body`,
      `delete from ${table}`,
      `truncate ${table} cascade`,
    ])
      await expect(database.admin.query(sql), sql).rejects.toThrow(/append|only|never|change/)
    const { rows } = await database.admin.query(
      `select r.rolname from pg_roles r where r.rolname like 'cf\\_%'
         and (has_table_privilege(r.oid, $1, 'update') or has_table_privilege(r.oid, $1, 'delete') or has_table_privilege(r.oid, $1, 'truncate'))`,
      [table],
    )
    expect(rows).toEqual([])
  })
})

test('dashboards may write nothing, whatever is granted to them by mistake', async () => {
  const { rows } = await database.admin.query(`
    select c.relname from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
      and (has_any_column_privilege('cf_dashboards', c.oid, 'insert') or has_any_column_privilege('cf_dashboards', c.oid, 'update')
           or has_table_privilege('cf_dashboards', c.oid, 'delete') or has_table_privilege('cf_dashboards', c.oid, 'truncate'))`)
  expect(rows).toEqual([])
})

/** Every word of the product, and where it is kept. */
const NOUNS = {
  tenant: ['tenant'],
  flake: ['flake', 'hook', 'hook_delivery'],
  commit: ['commit'],
  configuration: ['configuration', 'configuration_path'],
  evaluation: ['evaluation'],
  derivation: ['derivation', 'store_path', 'closure'],
  job: ['job', 'job_attempt', 'outbox'],
  builder: ['builder', 'builder_key'],
  system: ['system', 'system_key', 'environment', 'enroll_token'],
  report: ['system_state', 'heartbeat', 'system_current', 'report_receipt', 'request_nonce'],
  deployment: ['deployment', 'approval'],
  finding: ['cve', 'scan', 'finding'],
  waiver: ['waiver', 'waiver_transition', 'waiver_notice'],
  control: ['control_facts', 'control_evidence', 'control_evidence_decision'],
  event: ['audit_event', 'audit_pending', 'evidence_object'],
} as const

test.each(Object.entries(NOUNS))(
  'a %s has its tables, each held to its tenant by force',
  async (_noun, tables) => {
    const { rows } = await database.admin.query(
      `select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as forced from pg_class c
     where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname = any ($1) order by 1`,
      [tables],
    )
    expect(rows).toEqual([...tables].sort().map((name) => ({ name, forced: true })))
  },
)
