import type { AgentPrincipal } from '@crystal-forge/control-plane'
import type { KeyRecord } from '@crystal-forge/protocol'
import pg from 'pg'
import type { Database } from './connect.ts'

const FIND = 'select key_id, tenant_id, system_id, hostname, public_key, status from find_system_key($1)'

/** Conflicts with a key of another tenant count too: a public key belongs to one system. */
const ADD = `
insert into system_key (key_id, tenant_id, system_id, hostname, public_key, rfc9421_used_at) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing`

export type SystemKeyRow = {
  key_id: string
  tenant_id: string
  system_id: string
  hostname: string
  public_key: Buffer
  status: 'active' | 'revoked'
}

/** The host behind a key id, in one round trip; null when no host has it. Not inside a transaction: it changes the scope. */
export async function findSystemKey(
  database: Database,
  keyId: string,
): Promise<KeyRecord<AgentPrincipal> | null> {
  const { rows } = await database.query<SystemKeyRow>({
    name: 'find_system_key',
    text: FIND,
    values: [keyId],
  })
  const [row] = rows
  return row === undefined ? null : systemKeyOf(row)
}

export function systemKeyOf(row: SystemKeyRow): KeyRecord<AgentPrincipal> {
  const publicKey = new Uint8Array(row.public_key)
  const principal: AgentPrincipal = {
    kind: 'agent',
    tenant: row.tenant_id,
    system: row.system_id,
    hostname: row.hostname,
    keyId: row.key_id,
    publicKey,
  }
  return { status: row.status, publicKey, principal }
}

/** A key that has just signed a request of the new profile. */
export type NewSystemKey = {
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly keyId: string
  readonly publicKey: Uint8Array
  readonly at: Date
}

/** Adds an active key; `in_use` when a host or a builder has or had it, and then the transaction is to be rolled back. */
export async function addSystemKey(transaction: Database, key: NewSystemKey): Promise<'added' | 'in_use'> {
  const values = [key.keyId, key.tenant, key.system, key.hostname, key.publicKey, key.at]
  try {
    const { rowCount } = await transaction.query(ADD, values)
    return rowCount === 1 ? 'added' : 'in_use'
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.constraint === 'one_owner_per_key') return 'in_use'
    throw error
  }
}
