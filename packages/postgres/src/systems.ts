import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'

export type SystemKeyRow = {
  key_id: string
  public_key: string
  status: string
  original_wire_until: Date | null
  rfc9421_used_at: Date | null
  created_at: Date
  revoked_at: Date | null
  revoked_because: string | null
}

const KEYS = `
select key_id, encode(public_key, 'base64') as public_key, status, original_wire_until, rfc9421_used_at, created_at,
       revoked_at, revoked_because
from system_key where system_id = $1 order by created_at desc limit 100`

/** All keys that a system has and had, newest first. */
export async function listSystemKeys(database: Database, system: string): Promise<SystemKeyRow[]> {
  return (await database.query<SystemKeyRow>(KEYS, [system])).rows
}

export type StateRow = {
  id: string
  system_id: string
  report_id: string
  digest: string
  change_reason: string
  current_path: string
  booted_path: string | null
  profile_path: string | null
  facts: unknown
  assurance: string
  evidence_sha256: string
  collected_at: Date
  received_at: Date
}

const STATES = `
select * from state_list where system_id = $3 and ($1::text is null or id < $1) order by id desc limit $2`

/** The states that a system has reported, newest first. */
export async function listStates(database: Database, system: string, page: Page): Promise<Listed<StateRow>> {
  return await readPage<StateRow>(database, { text: STATES, filters: [system], key: (row) => row.id }, page)
}

const DEACTIVATE = `
update system set active = false, deactivated_at = coalesce(deactivated_at, now())
where id = $1 or hostname = $1
returning id, hostname as name, old.active as fresh`

/** Its keys are refused from the next request on. `fresh` is false when it was inactive before; null when there is none. */
export async function deactivateSystem(
  transaction: Database,
  name: string,
): Promise<{ id: string; name: string; fresh: boolean } | null> {
  return (
    (await transaction.query<{ id: string; name: string; fresh: boolean }>(DEACTIVATE, [name])).rows[0] ??
    null
  )
}

const REVOKE_SYSTEM_KEY = `
update system_key set status = 'revoked', revoked_at = coalesce(revoked_at, now()), revoked_because = coalesce(revoked_because, $2)
where key_id = $1
returning hostname as name, old.status = 'active' as fresh`
const REVOKE_BUILDER_KEY = `
update builder_key k set status = 'revoked', revoked_at = coalesce(k.revoked_at, now())
from builder b
where k.key_id = $1 and b.id = k.builder_id
returning b.name, old.status = 'active' as fresh`

export type RevokedKey = {
  readonly owner: 'system' | 'builder'
  readonly name: string
  readonly fresh: boolean
}

/** Revokes the key of a host or a builder; null when nobody has it. */
export async function revokeKey(
  transaction: Database,
  keyId: string,
  because: string,
): Promise<RevokedKey | null> {
  const system = await transaction.query<{ name: string; fresh: boolean }>(REVOKE_SYSTEM_KEY, [
    keyId,
    because,
  ])
  if (system.rows[0] !== undefined) return { owner: 'system', ...system.rows[0] }
  const builder = await transaction.query<{ name: string; fresh: boolean }>(REVOKE_BUILDER_KEY, [keyId])
  return builder.rows[0] === undefined ? null : { owner: 'builder', ...builder.rows[0] }
}

const ADD_KEY = `
insert into system_key (key_id, tenant_id, system_id, hostname, public_key)
select $2, s.tenant_id, s.id, s.hostname, $3 from system s where s.id = $1`

/** Gives a system another key beside the ones it has. A key that exists anywhere is a unique violation. */
export async function addSystemKey(
  transaction: Database,
  key: { readonly system: string; readonly keyId: string; readonly publicKey: Uint8Array },
): Promise<void> {
  await transaction.query(ADD_KEY, [key.system, key.keyId, Buffer.from(key.publicKey)])
}

const SWITCH_TENANT = `
update tenant set original_wire_until = case
  when $1::timestamptz is null then case when $2 then null else original_wire_until end
  else greatest(original_wire_until, $1) end
where id = cf_tenant()`
const SWITCH_KEYS = `
update system_key k set original_wire_until = $1
from system s
where s.id = k.system_id and k.status = 'active' and k.rfc9421_used_at is null
  and ($2::text[] is null or s.hostname = any ($2))
returning s.hostname`
const UNKNOWN_HOSTS = `
select wanted from unnest($1::text[]) wanted
where not exists (select from system s where s.hostname = wanted and s.active) order by wanted limit 10`

/**
 * Lets the keys of some hosts (of all, when `systems` is null) speak the original's wire until a time, or no longer when it is null. A
 * key that has used RFC 9421 stays as it is. Returns the hosts whose key was changed.
 */
export async function switchOriginalWire(
  transaction: Database,
  order: { readonly until: Date | null; readonly systems: readonly string[] | null },
): Promise<string[]> {
  await transaction.query(SWITCH_TENANT, [order.until, order.systems === null])
  const { rows } = await transaction.query<{ hostname: string }>(SWITCH_KEYS, [order.until, order.systems])
  return rows.map(({ hostname }) => hostname).sort()
}

/** Which of the host names are not those of active systems, at most 10. */
export async function unknownHosts(database: Database, hostnames: readonly string[]): Promise<string[]> {
  return (await database.query<{ wanted: string }>(UNKNOWN_HOSTS, [hostnames])).rows.map(
    ({ wanted }) => wanted,
  )
}

/** Whether Postgres refused a row because another one has the same unique value. */
export function isDuplicate(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '23505'
}
