import type { EvaluationEvidence } from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'
import { evaluationOf } from './evaluation-evidence.ts'
import { type Listed, type Page, readPage } from './lists.ts'

/** What a commit yields for a configuration, and what the commit before it on the branch that has a report did. */
export type CommitReport = {
  readonly configuration: string
  readonly after: EvaluationEvidence
  readonly before: { readonly rev: string; readonly evaluation: EvaluationEvidence } | null
}

const LIST = `
select c.name as configuration, e.id, d.out_path, e.evaluated_at, e.stig_report,
       old.rev as old_rev, old.id as old_id, old.out_path as old_out_path, old.evaluated_at as old_evaluated_at,
       old.stig_report as old_stig_report
from evaluation e
join commit k on k.id = e.commit_id
join configuration c on c.id = e.configuration_id
join derivation d on d.id = e.derivation_id
left join lateral (
  select k2.rev, e2.id, d2.out_path, e2.evaluated_at, e2.stig_report
  from commit k2
  join evaluation e2 on e2.commit_id = k2.id and e2.configuration_id = e.configuration_id
  join derivation d2 on d2.id = e2.derivation_id
  where k2.flake_id = k.flake_id and k2.position < k.position and k2.on_branch and e2.stig_report is not null
  order by k2.position desc limit 1
) old on true
where e.commit_id = $3 and e.stig_report is not null and ($4::text is null or c.name = $4)
  and ($1::text is null or c.name > $1)
order by c.name limit $2`

type Row = {
  configuration: string
  id: string
  out_path: string
  evaluated_at: Date
  stig_report: unknown
  old_rev: string | null
  old_id: string
  old_out_path: string
  old_evaluated_at: Date
  old_stig_report: unknown
}

/** The reports of a commit in the order of the configurations; one that is none is left out. */
export async function listCommitReports(
  database: Database,
  { commit, configuration }: { readonly commit: string; readonly configuration: string | null },
  page: Page,
): Promise<Listed<CommitReport>> {
  const listed = { text: LIST, filters: [commit, configuration], key: (row: Row) => row.configuration }
  const { items, next } = await readPage<Row>(database, listed, page)
  return { items: items.flatMap(reportOf), next }
}

function reportOf(row: Row): CommitReport[] {
  const after = evaluationOf(row)
  if (after === null) return []
  const old = evaluationOf({
    id: row.old_id,
    out_path: row.old_out_path,
    evaluated_at: row.old_evaluated_at,
    stig_report: row.old_stig_report,
  })
  const before = row.old_rev === null || old === null ? null : { rev: row.old_rev, evaluation: old }
  return [{ configuration: row.configuration, after, before }]
}
