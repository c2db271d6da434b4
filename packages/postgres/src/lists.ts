import type { Database } from './connect.ts'

/** Which part of a list: `limit` rows after the row whose sort key is `after`. */
export type Page = { readonly limit: number; readonly after: string | null }
export type Listed<Row> = {
  readonly items: readonly Row[]
  /** Sort key of the last row when there are more; null at the end. */
  readonly next: string | null
}

/**
 * Runs a list: `$1` is the sort key to continue after, `$2` how many rows to read, the filters follow. A filter that is
 * null restricts nothing. The statement orders by the text that `key` returns.
 */
export async function readPage<Row extends object>(
  database: Database,
  list: { readonly text: string; readonly filters: readonly unknown[]; readonly key: (row: Row) => string },
  page: Page,
): Promise<Listed<Row>> {
  const { rows } = await database.query<Row>(list.text, [page.after, page.limit + 1, ...list.filters])
  return pageOf(rows, page.limit, list.key)
}

/** The page in rows that were read with one more than asked for: that one says whether there are more. */
export function pageOf<Row>(rows: readonly Row[], limit: number, key: (row: Row) => string): Listed<Row> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next: rows.length > limit && last !== undefined ? key(last) : null }
}

/** Ids begin with their time, so the newest come first. */
const NEWEST = 'and ($1::text is null or id < $1) order by id desc limit $2'

export type CommitRow = {
  id: string
  flake: string
  rev: string
  position: number
  committed_at: Date
  subject: string
  on_branch: boolean
  state: string
  error: string | null
  discovered_at: Date
  evaluated_at: Date | null
}
/** Counted for one commit only: a list would read every evaluation of its commits. */
export type CommitDetail = CommitRow & { evaluations: number; failed: number }
export type CommitFilter = {
  readonly flake: string | null
  readonly state: string | null
  readonly rev: string | null
}

const COMMITS = `
select * from commit_list
where ($3::text is null or flake = $3) and ($4::text is null or state = $4)
  and ($5::text is null or (rev >= $5 and rev < $5 || 'g'))
  ${NEWEST}`

export async function listCommits(
  database: Database,
  filter: CommitFilter,
  page: Page,
): Promise<Listed<CommitRow>> {
  const filters = [filter.flake, filter.state, filter.rev]
  return await readPage<CommitRow>(database, { text: COMMITS, filters, key: byId }, page)
}

const COMMIT = `
select l.*, (select count(*) from evaluation e where e.commit_id = l.id) as evaluations,
       (select count(*) from evaluation e where e.commit_id = l.id and e.state = 'error') as failed
from commit_list l
where l.id = $1 or (length($1) >= 7 and l.rev >= $1 and l.rev < $1 || 'g') order by l.id desc limit 2`

/** By id or by a revision of at least 7 digits; null when none matches or the digits are ambiguous. */
export async function showCommit(database: Database, name: string): Promise<CommitDetail | null> {
  const { rows } = await database.query<CommitDetail>(COMMIT, [name])
  const exact = rows.find((row) => row.id === name || row.rev === name)
  return exact ?? (rows.length === 1 ? (rows[0] ?? null) : null)
}

export type EvaluationRow = {
  id: string
  flake: string
  rev: string
  position: number
  configuration: string
  commit_id: string
  configuration_id: string
  state: string
  error_class: string | null
  error: string | null
  drv_path: string | null
  out_path: string | null
  build_state: string | null
  build_error: string | null
  scan_state: string | null
  agent_assertion: boolean | null
  evaluator: string
  duration_ms: number
  evaluated_at: Date
}
export type EvaluationFilter = {
  readonly flake: string | null
  readonly commit: string | null
  readonly configuration: string | null
  readonly state: string | null
}

const EVALUATIONS = `
select * from evaluation_list
where ($3::text is null or flake = $3)
  and ($4::text is null or commit_id = $4 or (length($4) >= 7 and rev >= $4 and rev < $4 || 'g'))
  and ($5::text is null or configuration = $5) and ($6::text is null or state = $6)
  ${NEWEST}`

export async function listEvaluations(
  database: Database,
  filter: EvaluationFilter,
  page: Page,
): Promise<Listed<EvaluationRow>> {
  const filters = [filter.flake, filter.commit, filter.configuration, filter.state]
  return await readPage<EvaluationRow>(database, { text: EVALUATIONS, filters, key: byId }, page)
}

const EVALUATION = `
select l.*, e.error_trace, e.facts, e.stig_report from evaluation_list l join evaluation e on e.id = l.id where l.id = $1`

export type EvaluationDetail = EvaluationRow & {
  error_trace: string | null
  facts: unknown
  stig_report: unknown
}

export async function showEvaluation(database: Database, id: string): Promise<EvaluationDetail | null> {
  return (await database.query<EvaluationDetail>(EVALUATION, [id])).rows[0] ?? null
}

export type DerivationRow = {
  id: string
  name: string
  system: string
  drv_path: string
  out_path: string
  state: string
  failure_class: string | null
  error: string | null
  attempts: number
  nar_hash: string | null
  closure_sha256: string | null
  scan_state: string
  built_at: Date | null
  scanned_at: Date | null
  created_at: Date
}
export type DerivationFilter = {
  readonly state: string | null
  readonly scan: string | null
  readonly path: string | null
}

const DERIVATIONS = `
select * from derivation_list
where ($3::text is null or state = $3) and ($4::text is null or scan_state = $4)
  and ($5::text is null or drv_path = $5 or out_path = $5)
  ${NEWEST}`

export async function listDerivations(
  database: Database,
  filter: DerivationFilter,
  page: Page,
): Promise<Listed<DerivationRow>> {
  const filters = [filter.state, filter.scan, filter.path]
  return await readPage<DerivationRow>(database, { text: DERIVATIONS, filters, key: byId }, page)
}

export type JobRow = {
  id: string
  kind: string
  subject: string
  about: string | null
  state: string
  attempt: number
  fence: number | null
  builder: string | null
  lease_until: Date | null
  priority: number
  not_before: Date
  progress: unknown
  failure_class: string | null
  failure_message: string | null
  created_at: Date
  hinted_at: Date | null
  started_at: Date | null
  finished_at: Date | null
}
export type JobFilter = {
  readonly kind: string | null
  readonly state: string | null
  readonly builder: string | null
  /** Those that wait or run, or those that are over. */
  readonly open: boolean | null
}

const JOBS = `
select * from job_list
where ($3::text is null or kind = $3) and ($4::text is null or state = $4) and ($5::text is null or builder = $5)
  and ($6::boolean is null or (state in ('queued', 'leased')) = $6)
  ${NEWEST}`

export async function listJobs(database: Database, filter: JobFilter, page: Page): Promise<Listed<JobRow>> {
  const filters = [filter.kind, filter.state, filter.builder, filter.open]
  return await readPage<JobRow>(database, { text: JOBS, filters, key: byId }, page)
}

const JOB = 'select l.*, j.log_tail from job_list l join job j on j.id = l.id where l.id = $1'
const ATTEMPTS = `
select a.attempt, a.fence, b.name as builder, a.started_at, a.ended_at, a.outcome, a.failure_class, a.message
from job_attempt a join builder b on b.id = a.builder_id where a.job_id = $1 order by a.fence desc limit 50`

export type JobAttemptRow = {
  attempt: number
  fence: number
  builder: string
  started_at: Date
  ended_at: Date | null
  outcome: string
  failure_class: string | null
  message: string | null
}
export type JobDetail = JobRow & { log_tail: string | null; attempts: readonly JobAttemptRow[] }

export async function showJob(database: Database, id: string): Promise<JobDetail | null> {
  const job = (await database.query<JobRow & { log_tail: string | null }>(JOB, [id])).rows[0]
  if (job === undefined) return null
  const attempts = await database.query<JobAttemptRow>(ATTEMPTS, [id])
  return { ...job, attempts: attempts.rows }
}

export type BuilderRow = {
  id: string
  name: string
  active: boolean
  nix_version: string | null
  systems: string[]
  scanner: string | null
  isolation: string | null
  last_seen_at: Date | null
  created_at: Date
  keys: string[] | null
  jobs: string[] | null
}

const BUILDERS = `
select * from builder_list
where ($1::text is null or name > $1) and ($3::boolean is null or active = $3)
order by name limit $2`

export async function listBuilders(
  database: Database,
  filter: { readonly active: boolean | null },
  page: Page,
): Promise<Listed<BuilderRow>> {
  return await readPage<BuilderRow>(
    database,
    { text: BUILDERS, filters: [filter.active], key: (row) => row.name },
    page,
  )
}

const BUILDER = 'select * from builder_list where id = $1 or name = $1 order by id = $1 desc limit 1'

export async function showBuilder(database: Database, name: string): Promise<BuilderRow | null> {
  return (await database.query<BuilderRow>(BUILDER, [name])).rows[0] ?? null
}

export type EnvironmentRow = {
  id: string
  name: string
  description: string
  risk_profile: string
  compliance_level: string
  active: boolean
  systems: number
}

const ENVIRONMENTS =
  'select * from environment_list where ($1::text is null or name > $1) order by name limit $2'

export async function listEnvironments(database: Database, page: Page): Promise<Listed<EnvironmentRow>> {
  return await readPage<EnvironmentRow>(
    database,
    { text: ENVIRONMENTS, filters: [], key: (row) => row.name },
    page,
  )
}

export type CacheRow = { toplevel: string; paths: number; nar_size: number; sha256: string; created_at: Date }
export type CacheTotals = {
  closures: number
  paths: number
  nar_bytes: number
  file_bytes: number
  unpublished: number
}

const CACHE = 'select * from cache_list where ($1::text is null or toplevel > $1) order by toplevel limit $2'
const CACHE_TOTALS = `
select (select count(*) from closure) as closures, count(*) as paths,
       coalesce(sum(nar_size), 0)::bigint as nar_bytes, coalesce(sum(file_size), 0)::bigint as file_bytes,
       count(*) filter (where published_at is null) as unpublished
from store_path`

/** Whole closures in the cache, and how much it holds. */
export async function listCache(
  database: Database,
  page: Page,
): Promise<Listed<CacheRow> & { readonly totals: CacheTotals }> {
  const closures = await readPage<CacheRow>(
    database,
    { text: CACHE, filters: [], key: (row) => row.toplevel },
    page,
  )
  const [totals] = (await database.query<CacheTotals>(CACHE_TOTALS)).rows
  if (totals === undefined) throw new Error('an aggregate gave no row')
  return { ...closures, totals }
}

function byId(row: { readonly id: string }): string {
  return row.id
}
