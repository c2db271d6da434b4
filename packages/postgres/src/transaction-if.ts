import type pg from 'pg'
import type { Database } from './connect.ts'
import { inTransaction, type Scope } from './transaction.ts'

export type ConditionalWork<Outcome> = {
  readonly scope: Scope
  readonly work: (transaction: Database) => Promise<Outcome>
  /** Whether what was done so far stays. */
  readonly keep: (outcome: Outcome) => boolean
}

/** As `inTransaction`, but an outcome that is not to be kept is rolled back and still returned: a refusal leaves no trace. */
export async function inTransactionIf<Outcome>(
  pool: pg.Pool,
  { scope, work, keep }: ConditionalWork<Outcome>,
): Promise<Outcome> {
  let refused: { readonly outcome: Outcome } | undefined
  const undo = new Error('rolled back: refused')
  try {
    return await inTransaction(pool, scope, async (transaction) => {
      const outcome = await work(transaction)
      if (keep(outcome)) return outcome
      refused = { outcome }
      throw undo
    })
  } catch (error) {
    if (error === undo && refused !== undefined) return refused.outcome
    throw error
  }
}
