import type { HostileWorld } from './hostile-world.ts'

/** Everything that the control plane holds, in three ways of looking at it. */
export type FleetState = {
  /** Every list of the operator API, page by page, and every item by itself. */
  readonly api: Readonly<Record<string, unknown>>
  /** Every row of every table, but for those that are excepted. */
  readonly tables: Readonly<Record<string, readonly Row[]>>
  /** Every object of the cache with its size. */
  readonly objects: readonly string[]
}
type Row = Readonly<Record<string, unknown>>

export async function readFleetState(world: HostileWorld): Promise<FleetState> {
  return { api: await readApi(world), tables: await readTables(world), objects: await readObjects(world) }
}

async function readApi(world: HostileWorld): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {}
  for (const name of LISTS) {
    const items = await readList(world, name)
    seen[name] = items.map(withoutContact)
    const id = ITEM_NAMES[name]
    if (id === undefined) continue
    for (const item of items) {
      const path = `${name}/${item[id]}`
      for (const view of [path, ...(name === 'systems' ? [`${path}/drift`] : [])])
        seen[view] = await show(world, view)
      if (name === 'systems') seen[`${path}/states`] = await readList(world, `${path}/states`)
      if (name === 'jobs') seen[`${path}/waiting`] = await show(world, `${path}/waiting`)
    }
  }
  return seen
}

/** Two items a page, so that reading a list reads its cursors too. */
async function readList(world: HostileWorld, name: string): Promise<Row[]> {
  const items: Row[] = []
  let cursor: string | null = null
  do {
    const after: string = cursor === null ? '' : `&cursor=${cursor}`
    const { status, text } = await world.operator('GET', `/v1/${name}?limit=2${after}`)
    if (status !== 200) throw new Error(`${name}: ${status} ${text}`)
    const page: { items: Row[]; next_cursor: string | null } = JSON.parse(text)
    items.push(...page.items)
    cursor = page.next_cursor
  } while (cursor !== null)
  return items
}

async function show(world: HostileWorld, path: string): Promise<Row> {
  const { status, text, body } = await world.operator('GET', `/v1/${path}`)
  if (status !== 200) throw new Error(`${path}: ${status} ${text}`)
  return withoutContact(body)
}

/**
 * Takes out what a refused message of an authentic builder leaves behind: its signature is a sign of life, and a result
 * that came too late is noted among the attempts of its job.
 */
function withoutContact({ last_seen_at: _, attempts, ...item }: Row): Row {
  return Array.isArray(attempts) ? { ...item, attempts: attempts.filter(isInTime) } : item
}

function isInTime({ outcome }: Row): boolean {
  return outcome !== 'late'
}

async function readTables({ server: { database } }: HostileWorld): Promise<Record<string, Row[]>> {
  const { rows } = await database.admin.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
       and not relispartition order by relname`,
  )
  const tables: Record<string, Row[]> = {}
  for (const { name } of rows) {
    if (name in EXCEPTED_TABLES) continue
    const read = await database.admin.query<{ row: Row }>(
      `select to_jsonb(t) as row from "${name}" t order by t::text`,
    )
    tables[name] = read.rows.map(({ row }) => withoutContact(row)).filter(isInTime)
  }
  return tables
}

async function readObjects({ cache: { objects, prefix } }: HostileWorld): Promise<string[]> {
  const listed = await objects.list(prefix)
  return listed.objects.map(({ key, bytes }) => `${key} ${bytes}`).toSorted()
}

const LISTS = [
  'systems',
  'flakes',
  'hooks',
  'commits',
  'evaluations',
  'derivations',
  'jobs',
  'builders',
  'drift',
  'findings',
  'environments',
  'cache',
  'tokens',
] as const
/** Which member of an item stands in the path of its own view. */
const ITEM_NAMES: Readonly<Record<string, string>> = {
  systems: 'hostname',
  flakes: 'name',
  commits: 'id',
  evaluations: 'id',
  jobs: 'id',
  builders: 'name',
}

/** What a refused message may leave behind, and why. */
export const EXCEPTED_TABLES: Readonly<Record<string, string>> = {
  request_nonce: 'an authentic message spends its nonce whatever becomes of it, or it could be sent again',
  audit_event: 'refusals of authentic senders are evidence; the test compares their types',
  evidence_object: 'belongs to the events',
  audit_pending: 'belongs to the events',
  hook_delivery: 'an authentic delivery is remembered, so that it can be told from a replay',
}
