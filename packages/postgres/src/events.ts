import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'

export type EventRow = { id: string; type: string; created_at: Date; body: unknown; leaf_hash: string }

const EVENTS = `
select * from event_list
where ($3::text is null or type = $3) and ($4::timestamptz is null or created_at >= $4)
  and ($1::text is null or id < $1)
order by id desc limit $2`

/** The newest events first. */
export async function listEvents(
  database: Database,
  filter: { readonly type: string | null; readonly since: Date | null },
  page: Page,
): Promise<Listed<EventRow>> {
  const filters = [filter.type, filter.since]
  return await readPage<EventRow>(database, { text: EVENTS, filters, key: (row) => row.id }, page)
}
