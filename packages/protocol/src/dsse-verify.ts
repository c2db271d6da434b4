import { encodeHex } from './base64.ts'
import { type Envelope, preAuthEncoding } from './dsse.ts'
import { verifyEd25519 } from './ed25519-verify.ts'

/** A key that a verifier was configured with: never one that came with the envelope. */
export type TrustedKey<Role extends string = string> = {
  readonly keyId: string
  readonly publicKey: Uint8Array
  readonly role: Role
  /** Who holds the key. Two keys of one person count once. */
  readonly person: string
}

/**
 * Which trusted keys signed the envelope, each once. A signature's key id is a hint that narrows the search: a known id is
 * tried alone, an absent one tries every key, an unknown one is skipped. Who must have signed is for the caller.
 */
export function verifiedSigners<Role extends string>(
  envelope: Envelope,
  trusted: readonly TrustedKey<Role>[],
): readonly TrustedKey<Role>[] {
  const message = preAuthEncoding(envelope.payloadType, envelope.payload)
  const signers = new Map<string, TrustedKey<Role>>()
  for (const { keyId, bytes } of envelope.signatures) {
    if (bytes === null || bytes.length !== 64) continue
    const candidates = keyId === null ? trusted : trusted.filter((key) => key.keyId === keyId)
    const signer = candidates.find(({ publicKey }) => verifyEd25519({ message, publicKey, signature: bytes }))
    if (signer !== undefined) signers.set(encodeHex(signer.publicKey), signer)
  }
  return [...signers.values()]
}

/** How many distinct people with this role are among the signers. */
export function countPersons<Role extends string>(signers: readonly TrustedKey<Role>[], role: Role): number {
  return new Set(signers.filter((key) => key.role === role).map((key) => key.person)).size
}
