import type { Verdict } from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'
import { type Listed, type Page, pageOf, readPage } from './lists.ts'

/** A row of `system_drift`: one host, what it runs, and what is desired of it. */
export type DriftRow = {
  system_id: string
  hostname: string
  active: boolean
  policy: string
  desired_target: string | null
  created_at: Date
  environment: string | null
  flake_id: string | null
  flake: string | null
  configuration_id: string | null
  configuration: string | null
  seen_at: Date | null
  heartbeat_at: Date | null
  state_received_at: Date | null
  collected_at: Date | null
  generation: number | null
  boot_id: string | null
  revision: string | null
  failed_units: string[] | null
  agent_version: string | null
  nixos_version: string | null
  kernel: string | null
  assurance: string | null
  desired_path: string | null
  profile_path: string | null
  current_path: string | null
  booted_path: string | null
  desired_position: number | null
  desired_rev: string | null
  desired_at: Date | null
  running_position: number | null
  running_rev: string | null
  running_at: Date | null
  commits_behind: number | null
  reboot_needed: boolean
  not_persisted: boolean
  pinned: boolean
  evaluated: boolean
  latest_failed: boolean
  evaluation_error: string | null
  latest_rev: string | null
  latest_position: number | null
  head_rev: string | null
  head_state: string | null
  desired_derivation_id: string | null
  build_state: 'pending' | 'building' | 'built' | 'cached' | 'failed' | null
  build_error: string | null
  desired_scan_state: string
  running_scan_state: string
  attributed_flake: string | null
  attributed_configuration: string | null
  verdict: Verdict
}

export type DriftFilter = {
  readonly flake: string | null
  readonly environment: string | null
  readonly verdict: string | null
  readonly health: string | null
  readonly active: boolean | null
  /** Part of the host name, in any case. */
  readonly q: string | null
}

const SELECTED = `
($3::text is null or flake = $3) and ($4::text is null or environment = $4) and ($5::text is null or verdict = $5)
and ($6::text is null or system_health(seen_at, now()) = $6) and ($7::boolean is null or active = $7)
and ($8::text is null or strpos(lower(hostname), lower($8)) > 0)`

type Selected = { system_id: string; hostname: string }

const SELECT = `
select system_id, hostname from system_verdict
where ${SELECTED} and ($1::text is null or hostname > $1)
order by hostname limit $2`
/** Named: to plan it takes as long as to run it. */
const DETAILS = 'select * from system_drift where system_id = any ($1) order by hostname'

/** A page and the counts of the whole selection from one look at every host. */
const OVERVIEW = `
with selected as materialized (select system_id, hostname, verdict from system_verdict where ${SELECTED})
select
  (select coalesce(json_object_agg(verdict, systems order by verdict), '{}') from (
     select verdict, count(*) as systems from selected group by verdict) counted) as verdicts,
  (select coalesce(json_agg(json_build_object('system_id', system_id, 'hostname', hostname) order by hostname), '[]') from (
     select system_id, hostname from selected where ($1::text is null or hostname > $1) order by hostname limit $2) page) as page`

/**
 * Systems by host name with their drift. A filter may read the verdicts of the whole fleet; everything else is read for the hosts
 * of the page, by a second statement because the planner does not carry a join into the view.
 */
export async function listDrift(
  database: Database,
  filter: DriftFilter,
  page: Page,
): Promise<Listed<DriftRow>> {
  const list = { text: SELECT, filters: filterValues(filter), key: hostnameOf }
  return await withDetails(database, await readPage<Selected>(database, list, page))
}

/** The same with how many of all selected systems have each verdict. */
export async function listDriftWithCounts(
  database: Database,
  filter: DriftFilter,
  page: Page,
): Promise<Listed<DriftRow> & { readonly verdicts: Readonly<Record<string, number>> }> {
  type Overview = { verdicts: Record<string, number>; page: Selected[] }
  const values = [page.after, page.limit + 1, ...filterValues(filter)]
  const [row] = (await database.query<Overview>(OVERVIEW, values)).rows
  if (row === undefined) throw new Error('a row of aggregates is missing')
  const listed = await withDetails(database, pageOf(row.page, page.limit, hostnameOf))
  return { ...listed, verdicts: row.verdicts }
}

async function withDetails(database: Database, { items, next }: Listed<Selected>): Promise<Listed<DriftRow>> {
  if (items.length === 0) return { items: [], next }
  const ids = items.map((row) => row.system_id)
  const details = { name: 'drift_details', text: DETAILS, values: [ids] }
  return { items: (await database.query<DriftRow>(details)).rows, next }
}

function hostnameOf(row: Selected): string {
  return row.hostname
}

const SHOW =
  'select * from system_drift where system_id = $1 or hostname = $1 order by system_id = $1 desc limit 1'

/** By id or host name; null when there is none. */
export async function showDrift(database: Database, name: string): Promise<DriftRow | null> {
  return (await database.query<DriftRow>(SHOW, [name])).rows[0] ?? null
}

export type MissedCommit = { rev: string; position: number; subject: string; committed_at: Date }

const BETWEEN = `
select rev, position, subject, committed_at from commit
where flake_id = $1 and on_branch and position > $2 and position <= $3
order by position desc limit $4`

/** The commits of the branch after one position up to another one, newest first, at most `most`. */
export async function commitsBetween(
  database: Database,
  range: { readonly flake: string; readonly after: number; readonly upTo: number; readonly most: number },
): Promise<MissedCommit[]> {
  const values = [range.flake, range.after, range.upTo, range.most]
  return (await database.query<MissedCommit>(BETWEEN, values)).rows
}

const CLOSURE = `
select c.nar_size, c.sha256,
       (select array_agg(p.path order by p.path collate "C") from store_path p where p.id = any (c.path_ids)) as paths
from closure c where c.toplevel = $1`

export type Closure = { nar_size: number; sha256: string; paths: string[] }

/** Every path that a system needs; null when its closure was never committed to the cache. */
export async function readClosure(database: Database, toplevel: string): Promise<Closure | null> {
  const [row] = (
    await database.query<Omit<Closure, 'paths'> & { paths: string[] | null }>(CLOSURE, [toplevel])
  ).rows
  return row === undefined ? null : { ...row, paths: row.paths ?? [] }
}

function filterValues(filter: DriftFilter): unknown[] {
  return [filter.flake, filter.environment, filter.verdict, filter.health, filter.active, filter.q]
}
