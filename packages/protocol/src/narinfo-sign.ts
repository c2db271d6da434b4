import { decodeBase64, encodeBase64, encodeHex } from './base64.ts'
import { signEd25519 } from './ed25519-sign.ts'
import { type NarInfoSignature, narInfoFingerprint, type SignedPathInfo } from './narinfo.ts'
import { publicKeyOfSeed, SecretSeed } from './secret-seed.ts'

/** A key of a Nix cache, as `nix key generate-secret` writes it. */
export type CacheSecretKey = { readonly name: string; readonly seed: SecretSeed }

/** Signs what Nix signs: the fingerprint of path, NAR hash, NAR size and references. */
export function signNarInfo(info: SignedPathInfo, key: CacheSecretKey): NarInfoSignature {
  const message = new TextEncoder().encode(narInfoFingerprint(info))
  return { keyName: key.name, base64: encodeBase64(signEd25519(message, key.seed)) }
}

/**
 * Reads Nix's secret key format: `name:base64(seed, public key)`, 64 bytes.
 * @returns null when it is anything else, or when the two halves do not belong together.
 */
export function parseCacheSecretKey(text: string): CacheSecretKey | null {
  const trimmed = text.trim()
  const colon = trimmed.indexOf(':')
  const bytes = colon > 0 ? decodeBase64(trimmed.slice(colon + 1)) : null
  if (bytes === null || bytes.length !== 64) return null
  const seed = new SecretSeed(bytes.subarray(0, 32))
  const own = encodeHex(publicKeyOfSeed(seed)) === encodeHex(bytes.subarray(32))
  return own ? { name: trimmed.slice(0, colon), seed } : null
}

/** The content of a secret key file that Nix reads. The caller writes it with mode 0600 and nowhere else. */
export function renderCacheSecretKey(key: CacheSecretKey): string {
  const bytes = Buffer.concat([SecretSeed.bytes(key.seed), publicKeyOfSeed(key.seed)])
  return `${key.name}:${encodeBase64(bytes)}`
}

/** `name:base64(public key)`, an entry for `trusted-public-keys`. */
export function renderCachePublicKey(key: CacheSecretKey): string {
  return `${key.name}:${encodeBase64(publicKeyOfSeed(key.seed))}`
}
