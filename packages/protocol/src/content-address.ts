import { decodeBase64, decodeHex } from './base64.ts'
import { decodeNixBase32 } from './nix-base32.ts'

/**
 * Whether a text is a content address as Nix reads it in a narinfo: `text:sha256:<hash>` of files that Nix writes itself,
 * `fixed:[r:|git:]<algorithm>:<hash>` of fetched content. Nix refuses the whole narinfo for anything else.
 */
export function isContentAddress(text: string): boolean {
  const [, first, second, digest = ''] =
    /^(?:text:(sha256)|fixed:(?:r:|git:)?(md5|sha1|sha256|sha512)):(.+)$/.exec(text) ?? []
  const bytes = DIGEST_BYTES.get(first ?? second ?? '')
  return bytes !== undefined && isDigest(digest, bytes)
}

/** In Nix's base 32, in hex or in base64; the length tells which. */
function isDigest(text: string, bytes: number): boolean {
  if (text.length === bytes * 2) return decodeHex(text) !== null
  return decodeNixBase32(text, bytes) !== null || decodeBase64(text)?.length === bytes
}

const DIGEST_BYTES: ReadonlyMap<string, number> = new Map([
  ['md5', 16],
  ['sha1', 20],
  ['sha256', 32],
  ['sha512', 64],
])
