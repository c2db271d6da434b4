import type { AgentPrincipal, Rotated, Rotation, Rotations } from '@crystal-forge/control-plane'
import type { KeyRecord } from '@crystal-forge/protocol'
import type pg from 'pg'
import { evidenceOf, keepEvidence, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'
import { claimNonces } from './request-nonces.ts'
import { addSystemKey, type SystemKeyRow, systemKeyOf } from './system-keys.ts'
import { inTransactionIf } from './transaction-if.ts'

const FIND_OLD = `
select key_id, tenant_id, system_id, hostname, public_key, status from find_key_to_replace($1, $2)`

/** One statement decides between two rotations of one key at once: the row is locked and its status read again. */
const REVOKE_OLD = `
update system_key k set status = 'revoked', revoked_at = $2, revoked_because = $3
from system s where k.key_id = $1 and k.status = 'active' and s.id = k.system_id and s.active`

const REPLACED_BY = `
select exists (select from system_key o join system_key n on n.system_id = o.system_id and n.status = 'active'
               where o.key_id = $1 and o.revoked_because = $2 and n.key_id = $3) as yes`

/**
 * The present key of a rotation. A key that was replaced by exactly `newKeyId` still counts, for one purpose: a host whose
 * answer got lost asks again with the same two keys, and nothing is changed by that. Not inside a transaction.
 */
export async function findKeyToReplace(
  database: Database,
  oldKeyId: string,
  newKeyId: string,
): Promise<KeyRecord<AgentPrincipal> | null> {
  const { rows } = await database.query<SystemKeyRow>(FIND_OLD, [oldKeyId, newKeyId])
  const [row] = rows
  return row === undefined ? null : systemKeyOf(row)
}

/** Rotations in Postgres. */
export function rotations(pool: pg.Pool): Rotations {
  return {
    rotate: (rotation) =>
      inTransactionIf(pool, {
        scope: { tenant: rotation.tenant },
        work: (session) => rotate(session, rotation),
        keep: ({ kind }) => kind === 'rotated' || kind === 'rotated_before',
      }),
  } satisfies Rotations
}

async function rotate(session: Database, rotation: Rotation): Promise<Rotated> {
  const { tenant, system, oldKeyId, keyId, at, body, http } = rotation
  if (!(await claimNonces(session, tenant, rotation.spent))) return { kind: 'replayed' }
  const because = `replaced by ${keyId}`
  const { rowCount } = await session.query(REVOKE_OLD, [oldKeyId, at, because])
  if (rowCount === 0) {
    const { rows } = await session.query<{ yes: boolean }>(REPLACED_BY, [oldKeyId, because, keyId])
    return rows[0]?.yes ? { kind: 'rotated_before' } : { kind: 'refused' }
  }
  if ((await addSystemKey(session, rotation)) === 'in_use') return { kind: 'key_in_use' }
  await keepEvidence(session, body)
  const actor = { kind: 'agent' as const, key: oldKeyId, system }
  const detail = { ...evidenceOf(body), http, key: keyId, replaced: oldKeyId }
  await recordEvent(session, { type: 'agent.key_rotated', actor, detail })
  return { kind: 'rotated' }
}
