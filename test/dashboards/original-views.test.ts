import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { migrate, readMigrations } from '@crystal-forge/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { pathOf, seedFleet } from './demo-fleet.ts'

/** Views of the original that dashboards and other programs read, with the columns that they read. */
const ORIGINAL: Readonly<Record<string, string>> = {
  view_buildable_derivations:
    'id derivation_name derivation_type derivation_path status_id nixos_id nixos_commit_ts active_workers queue_position',
  view_commit_build_status:
    'commit_id flake_name repo_url git_commit_hash short_hash commit_timestamp commit_attempt_count derivation_id derivation_type derivation_name derivation_path derivation_scheduled_at derivation_started_at derivation_completed_at derivation_attempt_count evaluation_duration_ms error_message pname version derivation_status derivation_status_description is_terminal is_success total_derivations successful_derivations failed_derivations in_progress_derivations nixos_derivations package_derivations avg_evaluation_duration_seconds max_derivation_attempts all_statuses commit_build_status commit_build_description',
  view_commit_deployment_timeline:
    'flake_id flake_name commit_id git_commit_hash short_hash commit_timestamp total_evaluations successful_evaluations evaluation_statuses evaluated_targets first_deployment last_deployment total_systems_deployed currently_deployed_systems deployed_systems currently_deployed_systems_list',
  view_commit_nixos_table:
    'commit_id git_commit_hash short_hash commit_timestamp flake_name derivation_name derivation_status status_order total successful failed in_progress progress_pct',
  view_compliance_trend_7d:
    'snapshot_date total_systems systems_up_to_date systems_behind compliance_percentage daily_change',
  view_config_timeline: 'time Config flake_name',
  view_cve_trends_7d:
    'scan_date targets_scanned avg_vulnerabilities avg_critical avg_high total_vulnerabilities total_critical total_high',
  view_derivation_status_breakdown:
    'status_name status_description is_terminal is_success total_count nixos_count package_count avg_attempts avg_duration_seconds oldest_scheduled newest_scheduled count_last_24h percentage_of_total',
  view_flake_recent_commits:
    'flake commit commit_timestamp attempt_count attempt_status minutes_since_commit age_interval',
  view_security_trend_30d:
    'snapshot_date total_systems tpm_percentage secure_boot_percentage fips_percentage selinux_percentage unique_agent_versions outdated_agent_count',
  view_system_deployment_status:
    'hostname current_store_path deployment_time current_commit_hash current_commit_timestamp latest_commit_hash latest_commit_timestamp commits_behind flake_name deployment_status status_description',
  view_system_heartbeat_status:
    'hostname heartbeat_status most_recent_activity last_heartbeat last_state_change minutes_since_last_activity status_description',
  view_velocity_trend_14d:
    'snapshot_date new_commits_today commits_evaluated_today commits_deployed_today avg_eval_to_deploy_hours systems_updated_today deployment_rate_percentage',
}

let database: TestDatabase
let tenant: string
beforeAll(async () => {
  database = await createTestDatabase()
  tenant = (await seedFleet(database.admin, 'one')).tenant
  await seedFleet(database.admin, 'another')
  await database.admin.query(`insert into dashboard_login values ('cf_dashboards', $1)`, [tenant])
})
afterAll(() => database.drop())

const read = async (sql: string): Promise<Record<string, unknown>[]> =>
  (await database.poolFor('cf_dashboards').query(sql)).rows

describe('views of the original', () => {
  it.each(Object.entries(ORIGINAL))('%s has its columns', async (view, columns) => {
    const { fields } = await database.poolFor('cf_dashboards').query(`select * from ${view}`)
    expect(fields.map(({ name }) => name)).toEqual(columns.split(' '))
  })

  it('has the fourteen statuses by number, name, end, success and order', async () => {
    const rows = await read(
      'select id, name, is_terminal as t, is_success as s, display_order as o from derivation_statuses order by id',
    )
    expect(
      rows.map(({ id, name, t, s, o }) => `${id} ${name} ${t ? 't' : 'f'} ${s ? 't' : 'f'} ${o}`),
    ).toEqual(STATUSES)
  })

  it('says of each commit what became of its configurations', async () => {
    expect(
      await read(`select short_hash, derivation_status as status, commit_build_status as state, commit_attempt_count as tries
                  from view_commit_build_status order by git_commit_hash`),
    ).toEqual([
      { short_hash: '11111111', status: 'cache-pushed', state: 'complete', tries: 2 },
      { short_hash: '22222222', status: 'build-failed', state: 'failed', tries: 0 },
      { short_hash: '33333333', status: 'build-inprogress', state: 'building', tries: 0 },
      { short_hash: 'ffffffff', status: null, state: 'failed', tries: 0 },
    ])
    expect(
      await read(
        'select short_hash, total, successful, failed, in_progress, progress_pct from view_commit_nixos_table order by 1',
      ),
    ).toEqual([
      { short_hash: '11111111', total: 1, successful: 1, failed: 0, in_progress: 0, progress_pct: '100.0' },
      { short_hash: '22222222', total: 1, successful: 0, failed: 1, in_progress: 0, progress_pct: '100.0' },
      { short_hash: '33333333', total: 1, successful: 0, failed: 0, in_progress: 1, progress_pct: '0.0' },
    ])
  })

  it('says of each commit which hosts it came to, and where it still is', async () => {
    const rows =
      await read(`select short_hash, total_systems_deployed as came, currently_deployed_systems as runs, deployed_systems as hosts,
      first_deployment is not null as deployed from view_commit_deployment_timeline order by git_commit_hash`)
    expect(rows).toEqual([
      { short_hash: '11111111', came: 2, runs: 2, hosts: 'web-1, web-2', deployed: true },
      { short_hash: '22222222', came: 0, runs: 0, hosts: null, deployed: false },
      { short_hash: '33333333', came: 0, runs: 0, hosts: null, deployed: false },
      { short_hash: 'ffffffff', came: 0, runs: 0, hosts: null, deployed: false },
    ])
    expect(await read('select "Config", flake_name from view_config_timeline')).toEqual([
      { Config: '2 deployed (11111111)', flake_name: 'infra' },
    ])
  })

  it('names the newest commits of a flake and how they went', async () => {
    expect(
      await read(
        'select commit, attempt_status, attempt_count from view_flake_recent_commits order by commit',
      ),
    ).toEqual([
      { commit: '11111111', attempt_status: 'retries', attempt_count: 2 },
      { commit: '22222222', attempt_status: 'ok', attempt_count: 0 },
      { commit: '33333333', attempt_status: 'ok', attempt_count: 0 },
    ])
  })

  it('queues what is to be built, and counts what was', async () => {
    expect(
      await read(
        'select derivation_path, status_id, active_workers, queue_position from view_buildable_derivations',
      ),
    ).toEqual([{ derivation_path: `${pathOf(3)}.drv`, status_id: 8, active_workers: 1, queue_position: 1 }])
    expect(
      await read(
        'select status_name, total_count, percentage_of_total from view_derivation_status_breakdown order by 1',
      ),
    ).toEqual([
      { status_name: 'build-failed', total_count: 1, percentage_of_total: '33.3' },
      { status_name: 'build-inprogress', total_count: 1, percentage_of_total: '33.3' },
      { status_name: 'cache-pushed', total_count: 1, percentage_of_total: '33.3' },
    ])
    expect(
      await read(
        'select targets_scanned, total_vulnerabilities, total_critical, total_high from view_cve_trends_7d',
      ),
    ).toEqual([{ targets_scanned: 1, total_vulnerabilities: '1', total_critical: '1', total_high: '0' }])
  })

  it('tells the change from a day to the next', async () => {
    const rows = await read(
      'select compliance_percentage as share, daily_change as change from view_compliance_trend_7d order by snapshot_date limit 3',
    )
    expect(rows).toEqual([
      { share: '25.0', change: null },
      { share: '50.0', change: '25.0' },
      { share: '75.0', change: '25.0' },
    ])
  })
})

describe('the day of a fleet', () => {
  const record = async (renew = '15 minutes'): Promise<unknown> => {
    const client = await database.poolFor('cf_scheduler').connect()
    try {
      await client.query('begin')
      await client.query(`select set_config('cf.tenant', $1, true)`, [tenant])
      const { rows } = await client.query<{ done: boolean }>(
        'select record_fleet_day($1::interval) as done',
        [renew],
      )
      await client.query('commit')
      return rows[0]?.done
    } finally {
      client.release()
    }
  }

  it('is written by the sweep, which may not read what hosts run, once in a quarter of an hour', async () => {
    await expect(
      database.poolFor('cf_scheduler').query('select current_path from system_current'),
    ).rejects.toThrow(/permission denied/)
    expect(await record()).toBe(true)
    expect(await record()).toBe(false)
    expect(await record('0 seconds')).toBe(true)
  })

  it('counts the hosts of its tenant alone', async () => {
    const { rows } = await database.admin.query(
      `select * from fleet_day where tenant_id = $1 and day = (now() at time zone 'UTC')::date`,
      [tenant],
    )
    expect(rows[0]).toMatchObject({
      systems: 3,
      up_to_date: 0,
      behind: 2,
      never_seen: 1,
      offline: 0,
      reporting: 2,
      tpm: 1,
      secure_boot: 0,
      agent_versions: 2,
      // 0.9.0 is older than 0.10.0.
      outdated_agents: 1,
      updated_systems: 2,
      deployed_commits: 1,
    })
    const [{ hours } = { hours: '' }] = await read(
      'select avg_eval_to_deploy_hours as hours from view_velocity_trend_14d order by snapshot_date desc limit 1',
    )
    expect(Number(hours)).toBeCloseTo(28, 0)
  })

  it('makes good what yesterday missed after its last record, and leaves how yesterday stood', async () => {
    await database.admin.query(
      `update fleet_day set updated_systems = 99, up_to_date = 1, recorded_at = (now() at time zone 'UTC')::date - interval '10 minutes'
       where tenant_id = $1 and day = (now() at time zone 'UTC')::date - 1`,
      [tenant],
    )
    await record('0 seconds')
    const [yesterday] = await read(
      `select updated_systems, up_to_date from fleet_day where day = (now() at time zone 'UTC')::date - 1`,
    )
    expect(yesterday).toEqual({ updated_systems: 0, up_to_date: 1 })
  })

  it('needs a tenant', async () => {
    await expect(database.poolFor('cf_scheduler').query('select record_fleet_day()')).rejects.toThrow(
      'needs a tenant',
    )
  })
})

it('the states of rules stand beside a report without its explanations, and a report of another shape has none', async () => {
  const { rows } = await database.admin.query(
    `select stig_rule_states($1) as one, stig_rule_states('{"rules": []}') as two, stig_rule_states(null) as three`,
    [
      {
        rules: {
          'V-2': { state: 'active', actual: ['x'] },
          'V-1': { state: 'active' },
          'V-3': { state: 'inactive' },
          'V-4': {},
        },
      },
    ],
  )
  expect(rows[0]).toEqual({ one: { active: ['V-1', 'V-2'], inactive: ['V-3'] }, two: null, three: null })
})

it('views that stand on others are made again by every migration', async () => {
  const client = await database.admin.connect()
  try {
    const again = await migrate(client, await readMigrations(join(import.meta.dirname, '../../migrations')))
    expect(again.applied).toEqual([])
  } finally {
    client.release()
  }
  const made = readFileSync(
    join(import.meta.dirname, '../../migrations/views/41-dashboards.sql'),
    'utf8',
  ).match(/create or replace view (\w+)/g)
  const dropped = readFileSync(
    join(import.meta.dirname, '../../migrations/views/04-drop-dashboards.sql'),
    'utf8',
  )
  for (const statement of made ?? [])
    expect(dropped).toMatch(new RegExp(`[ ,]${statement.split(' ').at(-1)}[,;]`))
})

const STATUSES = [
  '1 pending f f 10',
  '2 queued f f 20',
  '3 dry-run-pending f f 30',
  '4 dry-run-inprogress f f 40',
  '5 dry-run-complete f t 50',
  '6 dry-run-failed t f 51',
  '7 build-pending f f 60',
  '8 build-inprogress f f 70',
  '9 in-progress f f 75',
  '10 build-complete t t 80',
  '11 complete t t 90',
  '12 build-failed t f 81',
  '13 failed t f 91',
  '14 cache-pushed t t 100',
]
