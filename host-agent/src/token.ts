import { parseSeed, type SecretSeed } from '@crystal-forge/protocol'

/** Reads a one-time token: base64url or base64 of a 32-byte seed, padded or not, surrounding white space trimmed; null when it is none. */
export function parseToken(text: string): SecretSeed | null {
  const trimmed = text.trim().replace(/=+$/, '')
  if (!/^[A-Za-z0-9+/_-]{43}$/.test(trimmed)) return null
  return parseSeed(`${trimmed.replaceAll('-', '+').replaceAll('_', '/')}=`)
}
