import type { Database } from './connect.ts'
import { enqueueJob, RESOLVE_PRIORITY } from './jobs.ts'
import { type Listed, type Page, readPage } from './lists.ts'

export type FlakeRow = {
  id: string
  name: string
  repo_url: string
  source: string
  branch: string
  auto_poll: boolean
  poll_interval_s: number
  initial_commit_depth: number
  next_poll_at: Date
  resolved_at: Date | null
  last_error: string | null
  active: boolean
  created_at: Date
  head_rev: string | null
  head_at: Date | null
  head_state: string | null
  systems: number
}

const LIST = `
select * from flake_list
where ($1::text is null or name > $1) and ($3::boolean is null or active = $3)
order by name limit $2`

export async function listFlakes(
  database: Database,
  filter: { readonly active: boolean | null },
  page: Page,
): Promise<Listed<FlakeRow>> {
  const key = (row: FlakeRow): string => row.name
  return await readPage<FlakeRow>(database, { text: LIST, filters: [filter.active], key }, page)
}

const SHOW = 'select * from flake_list where id = $1 or name = $1 order by id = $1 desc limit 1'

/** By id or name; null when there is none. */
export async function showFlake(database: Database, name: string): Promise<FlakeRow | null> {
  return (await database.query<FlakeRow>(SHOW, [name])).rows[0] ?? null
}

export type HookRow = {
  id: string
  flake: string
  provider: string
  active: boolean
  path: string
  has_previous_secret: boolean
  created_at: Date
}

const HOOKS = `
select * from hook_list
where ($1::text is null or id > $1) and ($3::text is null or flake = $3)
order by id limit $2`

export async function listHooks(
  database: Database,
  filter: { readonly flake: string | null },
  page: Page,
): Promise<Listed<HookRow>> {
  const key = (row: HookRow): string => row.id
  return await readPage<HookRow>(database, { text: HOOKS, filters: [filter.flake], key }, page)
}

const DEACTIVATE = `
update flake set active = false where id = $1 or name = $1 returning id, name, old.active as fresh`

/** It is neither polled nor evaluated any more. `fresh` is false when it was inactive before; null when there is none. */
export async function deactivateFlake(
  transaction: Database,
  name: string,
): Promise<{ id: string; name: string; fresh: boolean } | null> {
  return (
    (await transaction.query<{ id: string; name: string; fresh: boolean }>(DEACTIVATE, [name])).rows[0] ??
    null
  )
}

/** Asks for a look at the branch now. */
export async function pollFlake(transaction: Database, id: string): Promise<{ id: string; fresh: boolean }> {
  return await enqueueJob(transaction, {
    kind: 'resolve',
    subject: id,
    notes: {},
    priority: RESOLVE_PRIORITY,
  })
}
