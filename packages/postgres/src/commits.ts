import type { FailureClass, Succeeded } from '@crystal-forge/protocol'
import type { Actor } from './audit-events.ts'
import type { Database } from './connect.ts'

export type Resolved = Extract<Succeeded, { kind: 'resolve' }>

const RECORD =
  'select added, queued, left_branch as "leftBranch" from record_commits($1, $2::jsonb, $3, $4, $5, $6)'

/** What the branch gained and lost. */
export type RecordedCommits = {
  readonly added: number
  /** `evaluate` jobs. */
  readonly queued: number
  readonly leftBranch: number
}

/** Takes over what a builder found on a flake's branch: positions, rewritten history and `evaluate` jobs in one statement. */
export async function recordResolved(
  transaction: Database,
  resolved: { readonly flake: string; readonly found: Resolved; readonly actor: Actor },
): Promise<RecordedCommits> {
  const { flake, found, actor } = resolved
  // A head that is known already, with nothing new before it, is itself what the branch now ends with.
  const base = found.base ?? (found.commits.length === 0 ? found.head : null)
  const continues = found.continues || found.commits.length === 0
  const { rows } = await transaction.query<RecordedCommits>({
    name: 'record_commits',
    text: RECORD,
    values: [flake, JSON.stringify(found.commits), base, continues, EVALUATE_MOST, actor],
  })
  const [row] = rows
  if (row === undefined) throw new Error(`the commits of ${flake} were not recorded`)
  return row
}

const EVALUATED = `
update commit set state = 'evaluated', error = null, evaluated_at = now() where id = $1`

/** Every configuration of the commit has its own verdict now. */
export async function commitEvaluated(transaction: Database, commit: string): Promise<void> {
  await transaction.query({ name: 'commit_evaluated', text: EVALUATED, values: [commit] })
}

const TRANSIENT = `
select e.error_class as class, count(*) as count from evaluation e
where e.commit_id = $1 and e.state = 'error' and e.error_class in ('infra', 'timeout')
group by e.error_class order by e.error_class`

/** Configurations that failed for reasons outside of their source, by the first such class; null when there are none. */
export async function transientFailures(
  transaction: Database,
  commit: string,
): Promise<{ readonly class: FailureClass; readonly count: number } | null> {
  const { rows } = await transaction.query<{ class: FailureClass; count: number }>({
    name: 'transient_failures',
    text: TRANSIENT,
    values: [commit],
  })
  return rows[0] ?? null
}

/** Commits of one push that are evaluated; a larger push is a migration of history, not fifty deployments. */
const EVALUATE_MOST = 50
