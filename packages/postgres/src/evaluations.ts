import type { Evaluated } from '@crystal-forge/protocol'
import type { Actor } from './audit-events.ts'
import type { Database } from './connect.ts'

/** How many of a batch were recorded, were known, or contradict an earlier evaluation by another Nix version. */
export type RecordedEvaluations = {
  readonly recorded: number
  readonly same: number
  readonly evaluator_version: number
}

// In the order of their names, so that two batches about the same configurations wait for each other and never lock each other out.
const RECORD = `
select record_evaluation($1, $2, $3, one) as outcome
from (select value as one from jsonb_array_elements($4::jsonb) order by value ->> 'configuration') batch`

/** Records a batch: configurations, derivations, current state, `build` jobs and events, in one round trip. */
export async function recordEvaluations(
  transaction: Database,
  batch: {
    readonly commit: string
    readonly evaluator: string
    readonly actor: Actor
    readonly evaluations: readonly Evaluated[]
  },
): Promise<RecordedEvaluations> {
  const { rows } = await transaction.query<{ outcome: keyof RecordedEvaluations }>({
    name: 'record_evaluation',
    text: RECORD,
    values: [batch.commit, batch.evaluator, batch.actor, JSON.stringify(batch.evaluations)],
  })
  const counts = { recorded: 0, same: 0, evaluator_version: 0 }
  for (const { outcome } of rows) counts[outcome]++
  return counts
}
