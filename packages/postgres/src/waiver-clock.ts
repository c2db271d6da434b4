import type { Database } from './connect.ts'

/** Writes down which approved waivers of the tenant ended. Returns how many. */
export async function expireWaivers(transaction: Database, most: number): Promise<number> {
  const { rows } = await transaction.query<{ done: number }>('select expire_waivers($1) as done', [most])
  return rows[0]?.done ?? 0
}

/**
 * Records an event for each approved waiver of the tenant that ends within 30, 7 or 1 days and of which that was not said.
 * Returns how many.
 */
export async function notifyWaivers(transaction: Database, most: number): Promise<number> {
  const { rows } = await transaction.query<{ done: number }>('select notify_waivers($1) as done', [most])
  return rows[0]?.done ?? 0
}

const EXPIRING = `
select count(*)::int as expiring from waivers_at(now()) where state = 'approved' and expires_at <= now() + interval '30 days'`

/** How many approved waivers of the tenant end within 30 days. */
export async function expiringWaivers(transaction: Database): Promise<number> {
  return (await transaction.query<{ expiring: number }>(EXPIRING)).rows[0]?.expiring ?? 0
}
