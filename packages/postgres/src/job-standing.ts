import type { JobState } from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'

export type JobStanding = { readonly state: JobState; readonly attempt: number }

const STANDINGS = 'select id, state, attempt from job where id = any($1)'

/** Where jobs stand, by id. Ids that the tenant of the transaction does not have are not in the answer. */
export async function jobStandings(
  transaction: Database,
  ids: readonly string[],
): Promise<ReadonlyMap<string, JobStanding>> {
  if (ids.length === 0) return new Map()
  const { rows } = await transaction.query<JobStanding & { id: string }>(STANDINGS, [ids])
  return new Map(rows.map(({ id, state, attempt }) => [id, { state, attempt }]))
}
