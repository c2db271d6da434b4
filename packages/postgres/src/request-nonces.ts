import type { Database } from './connect.ts'

const CLAIM = `
insert into request_nonce (key_id, nonce, tenant_id, expires_at) values ($1, $2, $3, $4)
on conflict do nothing`

/** One signature of a request. `expiresAt` belongs to what was signed, so a copy always meets the same row. */
export type SpentNonce = {
  readonly tenant: string
  readonly keyId: string
  readonly nonce: string
  readonly expiresAt: Date
}

/**
 * Spends a nonce inside the transaction of the effect. Of two copies at the same time the second waits for the first: it
 * is `replayed` when that one commits and `fresh` when it rolls back.
 */
export async function claimNonce(transaction: Database, spent: SpentNonce): Promise<'fresh' | 'replayed'> {
  const values = [spent.keyId, spent.nonce, spent.tenant, spent.expiresAt]
  const { rowCount } = await transaction.query({ name: 'claim_nonce', text: CLAIM, values })
  return rowCount === 1 ? 'fresh' : 'replayed'
}

/** Spends the nonces of a request with several signatures; false when any of them was spent before. */
export async function claimNonces(
  transaction: Database,
  tenant: string,
  spent: readonly Omit<SpentNonce, 'tenant'>[],
): Promise<boolean> {
  for (const one of spent) {
    if ((await claimNonce(transaction, { ...one, tenant })) === 'replayed') return false
  }
  return true
}
