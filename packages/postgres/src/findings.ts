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

/** The same rows, host by host until the page is full. */
const BY_HOST = `
select listed.* from (
  select s.id, s.hostname from system s
  where s.active and ($3::text is null or s.hostname = $3 or s.id = $3)
    and ($4::text is null or s.environment_id = (select id from environment where name = $4))
    and ($5::text is null or s.flake_id = (select id from flake where name = $5))
    and ($1::text is null or s.hostname >= split_part($1, '/', 1))
  order by s.hostname
) host
cross join lateral (
  select * from finding_list l
  where l.system_id = host.id and ($6::text is null or l.cve = $6) and ($7::text is null or l.package = $7)
    and ($8::float8 is null or l.cvss3 >= $8)
    and ($1::text is null or (l.hostname, l.id) > (split_part($1, '/', 1), split_part($1, '/', 2)))
  order by l.id limit $2
) listed
order by host.hostname, listed.id limit $2`

/** Whether few findings of all that there ever were are of this kind. */
const RARE = `
select count(*) < $4 as rare from (
  select from finding f join cve on cve.tenant_id = f.tenant_id and cve.id = f.cve_id
  where ($1::text is null or f.cve_id = $1) and ($2::text is null or f.package = $2) and ($3::float8 is null or cve.cvss3 >= $3)
  limit $4
) found`

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

/**
 * What running systems carry, by host, with how much of the selection was scanned at all. A page of what most hosts have is
 * found at the first hosts; what few have is found faster from the findings than by a walk over the whole fleet.
 */
export async function listFindings(
  database: Database,
  filter: FindingFilter,
  page: Page,
): Promise<Listed<FindingRow> & { readonly coverage: ScanCoverage }> {
  const { system, environment, flake, cve, minCvss } = filter
  const filters = [system, environment, flake, cve, filter.package, minCvss]
  const key = (row: FindingRow): string => `${row.hostname}/${row.id}`
  const text = (await isRare(database, filter)) ? FINDINGS : BY_HOST
  const findings = await readPage<FindingRow>(database, { text, filters, key }, page)
  const [coverage] = (await database.query<ScanCoverage>(COVERAGE, [system, environment, flake])).rows
  if (coverage === undefined) throw new Error('an aggregate gave no row')
  return { ...findings, coverage }
}

async function isRare(database: Database, filter: FindingFilter): Promise<boolean> {
  const { cve, minCvss } = filter
  if (filter.system !== null || (cve === null && filter.package === null && minCvss === null)) return false
  const { rows } = await database.query<{ rare: boolean }>(RARE, [cve, filter.package, minCvss, RARE_MAX])
  return rows[0]?.rare === true
}

/** To look up so many findings takes some milliseconds. */
const RARE_MAX = 2000
