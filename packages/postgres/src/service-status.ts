import type { Database } from './connect.ts'

export type ServiceStats = {
  total_systems: number
  total_derivations: number
  pending_evaluations: number
}

const STATS = `
select (select count(*) from system where active) as total_systems,
       (select count(*) from derivation) as total_derivations,
       (select count(*) from job where kind = 'evaluate' and state in ('queued', 'leased')) as pending_evaluations`

/** The three counts of the original's health route, of the transaction's tenant. */
export async function serviceStats(transaction: Database): Promise<ServiceStats> {
  const [row] = (await transaction.query<ServiceStats>(STATS)).rows
  if (row === undefined) throw new Error('an aggregate gave no row')
  return row
}

/** Resolves when the database answers. */
export async function pingDatabase(database: Database): Promise<void> {
  await database.query('select 1')
}
