import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { seedFleet } from './demo-fleet.ts'
import { type DashboardQuery, expand, queriesOf, readDashboards } from './grafana.ts'

const dashboards = readDashboards()
const queries = [...dashboards].flatMap(([file, dashboard]) => queriesOf(file, dashboard))

let database: TestDatabase
let another: string
beforeAll(async () => {
  database = await createTestDatabase()
  const { tenant } = await seedFleet(database.admin, 'one')
  another = (await seedFleet(database.admin, 'another')).tenant
  await database.admin.query(`insert into dashboard_login values ('cf_dashboards', $1)`, [tenant])
  await database.admin.query(`begin; set local cf.tenant = '${tenant}'; select record_fleet_day(); commit`)
})
afterAll(() => database.drop())

describe('dashboards', () => {
  it('are there under ids that links can be kept to', () => {
    expect(new Map([...dashboards].map(([file, { uid }]) => [file, uid]))).toEqual(
      new Map([
        ['builders.json', 'crystal-forge-builders'],
        ['controls.json', 'crystal-forge-controls'],
        ['fleet.json', '39cb52f8-27d9-404f-81a5-8233493db1bc'],
        ['host.json', 'crystal-forge-host'],
      ]),
    )
  })

  it('show what those of the original showed, under its names', () => {
    const titles = dashboards.get('fleet.json')?.panels.map(({ title }) => title)
    for (const title of ORIGINAL) expect(titles).toContain(title)
  })

  it.each([...dashboards])(
    '%s has panels of their own ids that do not lie on each other',
    (_, { panels }) => {
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
      const taken = new Set<string>()
      for (const { title, gridPos } of panels)
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            expect([title, x, x < 24, taken.has(`${x},${y}`)]).toEqual([title, x, true, false])
            taken.add(`${x},${y}`)
          }
    },
  )

  it.each([...dashboards])(
    '%s asks for a datasource first, and uses each of its variables',
    (file, { templating }) => {
      expect(templating.list[0]?.name).toBe('datasource')
      const text = queriesOf(file, dashboards.get(file) ?? fail())
        .map(({ sql }) => sql)
        .join('\n')
      for (const { name } of templating.list.slice(1)) expect(text).toContain(`{${name}:sqlstring}`)
    },
  )
})

describe.each(queries)('$dashboard: $where', (query) => {
  it('reads views only', async () => {
    const client = await database.admin.connect()
    try {
      await client.query('begin')
      await client.query(`create view probe as ${expand(query.sql, VARIABLES, LAST_WEEK)}`)
      const { rows } = await client.query<{ name: string; kind: string }>(
        `select distinct c.relname as name, c.relkind as kind from pg_rewrite r
         join pg_depend d on d.objid = r.oid and d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass
         join pg_class c on c.oid = d.refobjid and c.oid <> r.ev_class
         where r.ev_class = 'probe'::regclass`,
      )
      expect(rows.filter(({ kind }) => kind !== 'v')).toEqual([])
      expect(rows.length).toBeGreaterThan(0)
    } finally {
      await client.query('rollback')
      client.release()
    }
  })

  it('is answered with rows that have the columns of the panel', async () => {
    const { rows, columns } = await ask(query)
    expect(rows.length).toBeGreaterThan(0)
    expect(columns).toEqual(expect.arrayContaining([...query.columns]))
    expect(new Set(columns).size).toBe(columns.length)
    if (query.format === 'time_series') expectTimeSeries(rows)
  })

  it('tells the same, and nothing of another tenant, to a session that asks to be in that', async () => {
    const { rows } = await ask(query)
    const client = await database.poolFor('cf_dashboards').connect()
    try {
      await client.query(`set cf.tenant = '${another}'`)
      const elsewhere = await client.query(expand(query.sql, VARIABLES, LAST_WEEK))
      expect(elsewhere.rows).toHaveLength(rows.length)
    } finally {
      client.release(true)
    }
  })

  it('tells nothing to a login that has no tenant', async () => {
    const client = await database.admin.connect()
    try {
      await client.query('begin')
      await client.query('delete from dashboard_login')
      await client.query('set local session authorization cf_dashboards')
      const { rows } = await client.query(expand(query.sql, VARIABLES, LAST_WEEK))
      // Counts of nothing are a row of zeros.
      for (const row of rows)
        for (const value of Object.values(row)) expect([0, '0', null, '(none)']).toContain(value)
    } finally {
      await client.query('rollback')
      client.release()
    }
  })
})

it('the role of dashboards writes nothing and reads no secrets', async () => {
  const pool = database.poolFor('cf_dashboards')
  for (const statement of [
    `insert into flake (tenant_id, name, repository_url, source) values (cf_tenant(), 'x', 'x', '{}')`,
    'delete from system',
    'select * from dashboard_login',
    'select * from api_token',
    'select * from hook',
    'select * from enroll_token',
    'select body from evidence_object',
    'select facts from control_facts',
    'select statement from control_evidence',
  ])
    await expect(pool.query(statement)).rejects.toThrow(/permission denied/)
})

type Answer = { readonly rows: readonly Record<string, unknown>[]; readonly columns: readonly string[] }

async function ask(query: DashboardQuery): Promise<Answer> {
  const { rows, fields } = await database
    .poolFor('cf_dashboards')
    .query(expand(query.sql, VARIABLES, LAST_WEEK))
  return { rows, columns: fields.map(({ name }) => name) }
}

/** Grafana wants a time, in order, and numbers; a column `metric` names the series. */
function expectTimeSeries(rows: readonly Record<string, unknown>[]): void {
  const times = rows.map(({ time }) => (time instanceof Date ? time.getTime() / 1000 : Number(time)))
  expect(times.every((time) => time > 1_600_000_000)).toBe(true)
  expect(times).toEqual([...times].sort((a, b) => a - b))
  for (const { time: _, metric: __, ...values } of rows)
    for (const value of Object.values(values))
      expect([value, value === null || Number.isFinite(Number(value))]).toEqual([value, true])
}

function fail(): never {
  throw new Error('a dashboard vanished')
}

const VARIABLES = { flake: ['infra', '(none)'], environment: ['production', "o'brien"], host: ['web-1'] }
const LAST_WEEK = { from: new Date(Date.now() - 7 * 86_400_000), to: new Date(Date.now() + 60_000) }
const ORIGINAL = [
  'Total Systems',
  'Fleet Health Status',
  'Deployment Status',
  'Config Timeline',
  'Current Build Queue Status',
  'Recent Failures',
  'Performance Leaders and Laggards',
  'System Status Table',
  '7-Day Trend',
  'Deployment Problems',
  'Critical & Offline Systems',
  'Latest Commit Status',
]
