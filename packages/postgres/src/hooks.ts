import type { WebhookProvider } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'

/** A hook as its row says: whom it trusts and for which flake. */
export type Hook = {
  readonly id: string
  readonly tenant: string
  readonly provider: WebhookProvider
  readonly secretSealed: Uint8Array
  readonly previousSecretSealed: Uint8Array | null
  readonly flake: string
  readonly flakeName: string
  readonly branch: string
}

const FIND = `
select id, tenant_id as tenant, provider, secret_sealed as "secretSealed", previous_secret_sealed as "previousSecretSealed",
  flake_id as flake, flake_name as "flakeName", branch
from find_hook($1)`

/** The active hook with this id, in one round trip; null when there is none. Not inside a transaction: it changes the scope. */
export async function findHook(database: Database, id: string): Promise<Hook | null> {
  const { rows } = await database.query<Hook>({ name: 'find_hook', text: FIND, values: [id] })
  return rows[0] ?? null
}

/** Whether a delivery is the first of its kind: `seen` has the same id within 30 days, `same-body` the same bytes within 10 minutes. */
export type DeliveryNovelty = 'new' | 'seen' | 'same-body'

const RECEIVE = 'select receive_delivery($1, $2, $3, $4) as novelty'

/** Notes a verified delivery. Deliveries of one hook wait for each other, so that of two equal ones only one is new. */
export async function receiveDelivery(
  transaction: Database,
  delivery: {
    readonly hook: string
    readonly id: string
    readonly bodySha256: Uint8Array
    readonly outcome: 'accepted' | 'ignored'
  },
): Promise<DeliveryNovelty> {
  const values = [delivery.hook, delivery.id, delivery.bodySha256, delivery.outcome]
  const { rows } = await transaction.query<{ novelty: DeliveryNovelty }>({
    name: 'receive_delivery',
    text: RECEIVE,
    values,
  })
  return rows[0]?.novelty ?? 'seen'
}
