import { type Envelope, preAuthEncoding } from './dsse.ts'
import { signEd25519 } from './ed25519-sign.ts'
import { keyId } from './keys.ts'
import { publicKeyOfSeed, type SecretSeed } from './secret-seed.ts'

/** Signs exact payload bytes with one or more keys. The payload states its own type and version besides `payloadType`. */
export function signEnvelope(
  document: { readonly payloadType: string; readonly payload: Uint8Array },
  seeds: readonly SecretSeed[],
): Envelope {
  return addSignatures({ ...document, signatures: [] }, seeds)
}

/** Adds signatures over the same bytes, as operators do offline after the director. */
export function addSignatures(envelope: Envelope, seeds: readonly SecretSeed[]): Envelope {
  const message = preAuthEncoding(envelope.payloadType, envelope.payload)
  const added = seeds.map((seed) => ({
    keyId: keyId(publicKeyOfSeed(seed)),
    bytes: signEd25519(message, seed),
  }))
  return { ...envelope, signatures: [...envelope.signatures, ...added] }
}
