import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'

export type FindingRow = {
  id: string
  hostname: string
  system_id: string
  environment: string | null
  flake: string | null
  cve: string
  package: string
  version: string
  cvss3: number | null
  severity: string
  whitelisted: boolean
  derivation: string | null
  out_path: string
  scanner: string | null
  scanned_at: Date
}
export type FindingFilter = {
  /** Host name or id. */
  readonly system: string | null
  readonly environment: string | null
  readonly flake: string | null
  readonly cve: string | null
  readonly package: string | null
  readonly minCvss: number | null
}
/** How many of the selected systems run a path in each state; one that was not scanned is never "clean". */
export type ScanCoverage = {
  scanned: number
  unscanned: number
  no_scanner: number
  failed: number
  never_seen: number
}

const FINDINGS = `
select * from finding_list
where ($3::text is null or hostname = $3 or system_id = $3) and ($4::text is null or environment = $4)
  and ($5::text is null or flake = $5) and ($6::text is null or cve = $6) and ($7::text is null or package = $7)
  and ($8::float8 is null or cvss3 >= $8)
  and ($1::text is null or (hostname, id) > (split_part($1, '/', 1), split_part($1, '/', 2)))
order by hostname, id limit $2`

const COVERAGE = `
select count(*) filter (where cur.system_id is null) as never_seen,
       count(*) filter (where drv.scan_state = 'scanned') as scanned,
       count(*) filter (where cur.system_id is not null and coalesce(drv.scan_state, 'unscanned') = 'unscanned') as unscanned,
       count(*) filter (where drv.scan_state = 'no_scanner') as no_scanner,
       count(*) filter (where drv.scan_state = 'failed') as failed
from system s
left join system_current cur on cur.system_id = s.id
left join lateral (
  select d.scan_state from derivation d
  where d.tenant_id = s.tenant_id and d.out_path = cur.current_path order by d.scanned_at desc nulls last limit 1
) drv on true
where s.active and ($1::text is null or s.hostname = $1 or s.id = $1)
  and ($2::text is null or s.environment_id = (select id from environment where name = $2))
  and ($3::text is null or s.flake_id = (select id from flake where name = $3))`

/** What running systems carry, by host, with how much of the selection was scanned at all. */
export async function listFindings(
  database: Database,
  filter: FindingFilter,
  page: Page,
): Promise<Listed<FindingRow> & { readonly coverage: ScanCoverage }> {
  const { system, environment, flake, cve, minCvss } = filter
  const filters = [system, environment, flake, cve, filter.package, minCvss]
  const key = (row: FindingRow): string => `${row.hostname}/${row.id}`
  const findings = await readPage<FindingRow>(database, { text: FINDINGS, filters, key }, page)
  const [coverage] = (await database.query<ScanCoverage>(COVERAGE, [system, environment, flake])).rows
  if (coverage === undefined) throw new Error('an aggregate gave no row')
  return { ...findings, coverage }
}
