import { sign } from 'node:crypto'
import { SecretSeed } from './secret-seed.ts'

/** RFC 8032 Ed25519 over the message itself (not a digest): 64 bytes. */
export function signEd25519(message: Uint8Array, seed: SecretSeed): Uint8Array {
  return new Uint8Array(sign(null, message, SecretSeed.privateKey(seed)))
}
