import { createHash } from 'node:crypto'
import { decodeBase64, encodeBase64, encodeBase64Url } from './base64.ts'

/** The name of an Ed25519 public key everywhere: `ed25519:` and base64url of the SHA-256 of its SPKI DER. */
export function keyId(publicKey: Uint8Array): string {
  return `ed25519:${encodeBase64Url(createHash('sha256').update(spkiOf(publicKey)).digest())}`
}

/** Whether a text has the shape of a key id; it does not say that the key exists. */
export function isKeyId(text: string): boolean {
  return /^ed25519:[A-Za-z0-9_-]{43}$/.test(text)
}

/** RFC 8410 SubjectPublicKeyInfo of a raw 32-byte key. @throws RangeError on another length. */
export function spkiOf(publicKey: Uint8Array): Uint8Array {
  if (publicKey.length !== 32)
    throw new RangeError(`an Ed25519 public key has 32 bytes, not ${publicKey.length}`)
  const der = new Uint8Array(44)
  der.set(SPKI_PREFIX)
  der.set(publicKey, 12)
  return der
}

/** The raw key inside an RFC 8410 SubjectPublicKeyInfo, or null when it is not one of Ed25519. */
export function publicKeyOfSpki(der: Uint8Array): Uint8Array | null {
  if (der.length !== 44) return null
  return SPKI_PREFIX.every((byte, at) => der[at] === byte) ? der.slice(12) : null
}

/** Reads a public key as key files and configurations hold it: base64 of 32 bytes, surrounding white space trimmed. */
export function parsePublicKey(text: string): Uint8Array | null {
  const bytes = decodeBase64(text.trim())
  return bytes !== null && bytes.length === 32 ? bytes : null
}

export function renderPublicKey(publicKey: Uint8Array): string {
  return encodeBase64(publicKey)
}

const SPKI_PREFIX = new Uint8Array([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00])
