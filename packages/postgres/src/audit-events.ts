import { createHash } from 'node:crypto'
import type { Database } from './connect.ts'

const RECORD = 'select record_event($1, $2::jsonb, $3::jsonb) as id'
const KEEP_EVIDENCE = `
insert into evidence_object (tenant_id, sha256, body) values (cf_tenant(), sha256($1), $1)
on conflict do nothing`

/** Who did it: `key` for agents and builders, `token`, `name` and `subject` for operators. */
export type Actor = {
  readonly kind: 'agent' | 'builder' | 'operator' | 'forge' | 'system'
  readonly key?: string
  readonly token?: string
  readonly name?: string
  readonly subject?: string
  readonly system?: string
  readonly builder?: string
}

/** Writes one audit event of the transaction's tenant and returns its id. `detail` holds the members that differ by type. */
export async function recordEvent(
  transaction: Database,
  event: { readonly type: string; readonly actor: Actor; readonly detail: object },
): Promise<string> {
  const values = [event.type, JSON.stringify(event.actor), JSON.stringify(event.detail)]
  const { rows } = await transaction.query<{ id: string }>({ name: 'record_event', text: RECORD, values })
  const [row] = rows
  if (row === undefined) throw new Error(`the event ${event.type} was not written`)
  return row.id
}

/** Keeps the exact signed bytes under their SHA-256. Equal bytes are kept once. */
export async function keepEvidence(transaction: Database, body: Uint8Array): Promise<void> {
  await transaction.query({ name: 'keep_evidence', text: KEEP_EVIDENCE, values: [body] })
}

/** The `evidence` member of an event about these bytes. */
export function evidenceOf(body: Uint8Array): {
  readonly evidence: { readonly sha256: string; readonly bytes: number }
} {
  return { evidence: { sha256: createHash('sha256').update(body).digest('hex'), bytes: body.length } }
}
