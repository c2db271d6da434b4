import type { AgentPrincipal } from '@crystal-forge/control-plane'
import type { KeyRecord } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'

const FIND = 'select key_id, tenant_id, system_id, hostname, public_key, status from find_system_key($1)'

type Row = {
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
  const { rows } = await database.query<Row>({ name: 'find_system_key', text: FIND, values: [keyId] })
  const [row] = rows
  if (row === undefined) return null
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
