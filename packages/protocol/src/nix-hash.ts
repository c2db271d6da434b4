import { decodeBase64, decodeHex, encodeBase64, encodeHex } from './base64.ts'
import { decodeNixBase32, encodeNixBase32 } from './nix-base32.ts'

/**
 * Reads a SHA-256 in any spelling that Nix prints: `sha256:<nix32>`, `sha256:<hex>`, `sha256:<base64>` or SRI `sha256-<base64>`.
 * @returns the 32 bytes, or null when the text is none of these.
 */
export function parseNixSha256(text: string): Uint8Array | null {
  if (text.startsWith('sha256-')) return ofLength32(decodeBase64(text.slice(7)))
  if (!text.startsWith('sha256:')) return null
  const digest = text.slice(7)
  switch (digest.length) {
    case 52:
      return decodeNixBase32(digest, 32)
    case 64:
      return /^[0-9a-f]+$/.test(digest) ? decodeHex(digest) : null
    case 44:
      return ofLength32(decodeBase64(digest))
    default:
      return null
  }
}

/** `sha256:<nix32>`, the spelling of narinfo files and of the fingerprint that is signed. */
export function sha256ToNix32(bytes: Uint8Array): string {
  return `sha256:${encodeNixBase32(checked(bytes))}`
}

/** `sha256-<base64>`, the SRI spelling of `nix path-info --json` and of deployment orders. */
export function sha256ToSri(bytes: Uint8Array): string {
  return `sha256-${encodeBase64(checked(bytes))}`
}

/** @throws RangeError when the text is not a SHA-256 in one of Nix's spellings. */
export function nix32OfHash(text: string): string {
  return sha256ToNix32(required(text))
}

/** @throws RangeError when the text is not a SHA-256 in one of Nix's spellings. */
export function sriOfHash(text: string): string {
  return sha256ToSri(required(text))
}

/** Lower case hex without a prefix. @throws RangeError when the text is not a SHA-256 in one of Nix's spellings. */
export function hexOfHash(text: string): string {
  return encodeHex(required(text))
}

function required(text: string): Uint8Array {
  const bytes = parseNixSha256(text)
  if (bytes === null)
    throw new RangeError(`not a SHA-256 in a spelling of Nix: ${JSON.stringify(text.slice(0, 100))}`)
  return bytes
}

function checked(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 32) throw new RangeError(`a SHA-256 has 32 bytes, not ${bytes.length}`)
  return bytes
}

function ofLength32(bytes: Uint8Array | null): Uint8Array | null {
  return bytes !== null && bytes.length === 32 ? bytes : null
}
