import type { BuilderPrincipal } from '@crystal-forge/control-plane'
import type { KeyRecord } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'

const FIND = 'select key_id, tenant_id, builder_id, name, public_key, status from find_builder_key($1)'

type Row = {
  key_id: string
  tenant_id: string
  builder_id: string
  name: string
  public_key: Buffer
  status: 'active' | 'revoked'
}

/** The builder behind a key id, in one round trip; null when there is none. Not inside a transaction: it changes the scope. */
export async function findBuilderKey(
  database: Database,
  keyId: string,
): Promise<KeyRecord<BuilderPrincipal> | null> {
  const { rows } = await database.query<Row>({ name: 'find_builder_key', text: FIND, values: [keyId] })
  const [row] = rows
  if (row === undefined) return null
  const publicKey = new Uint8Array(row.public_key)
  const principal: BuilderPrincipal = {
    kind: 'builder',
    tenant: row.tenant_id,
    builder: row.builder_id,
    name: row.name,
    keyId: row.key_id,
    publicKey,
  }
  return { status: row.status, publicKey, principal }
}
