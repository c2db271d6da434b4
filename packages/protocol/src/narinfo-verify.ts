import { decodeBase64 } from './base64.ts'
import { verifyEd25519 } from './ed25519-verify.ts'
import { parsePublicKey } from './keys.ts'
import { type NarInfoSignature, narInfoFingerprint, type SignedPathInfo } from './narinfo.ts'

/** Public keys by name, as `trusted-public-keys` of Nix lists them. */
export type TrustedCacheKeys = ReadonlyMap<string, Uint8Array>

/**
 * The names of the trusted keys with a valid signature, each once. A signature pins an input-addressed path only:
 * content-addressed ones pass Nix without any, so closures are pinned by `closureDigest`.
 */
export function verifiedCacheKeys(
  info: SignedPathInfo & { readonly signatures: readonly NarInfoSignature[] },
  trusted: TrustedCacheKeys,
): readonly string[] {
  const message = new TextEncoder().encode(narInfoFingerprint(info))
  const names = new Set<string>()
  for (const { keyName, base64 } of info.signatures) {
    const publicKey = trusted.get(keyName)
    const signature = decodeBase64(base64)
    if (publicKey === undefined || signature === null) continue
    if (verifyEd25519({ message, publicKey, signature })) names.add(keyName)
  }
  return [...names]
}

/** Reads `name:base64(32 bytes)`, one entry of `trusted-public-keys`; null when it is anything else. */
export function parseCachePublicKey(
  text: string,
): { readonly name: string; readonly publicKey: Uint8Array } | null {
  const colon = text.indexOf(':')
  const publicKey = colon > 0 ? parsePublicKey(text.slice(colon + 1)) : null
  return publicKey === null ? null : { name: text.slice(0, colon), publicKey }
}
