import { hash, timingSafeEqual } from 'node:crypto'
import { type Member, parseDictionary } from './structured-fields.ts'

/** `Content-Digest` (RFC 9530) with SHA-256; empty bodies have one too. */
export function contentDigest(body: Uint8Array): string {
  return `sha-256=:${hash('sha256', body, 'base64')}:`
}

/**
 * Whether the field matches the body: at least one of sha-256 and sha-512, and every one of them that is present.
 * Other algorithms are ignored; a repeated or malformed member makes the field false.
 */
export function matchesContentDigest(field: string, body: Uint8Array): boolean {
  const members = dictionaryOrNull(field)
  if (members === null) return false
  let recognised = 0
  for (const [name, algorithm] of ALGORITHMS) {
    const member = members.get(name)
    if (member === undefined) continue
    if (member.kind !== 'item' || member.value.kind !== 'bytes') return false
    const actual = hash(algorithm, body, 'buffer')
    if (member.value.value.length !== actual.length || !timingSafeEqual(member.value.value, actual))
      return false
    recognised++
  }
  return recognised > 0
}

function dictionaryOrNull(field: string): ReadonlyMap<string, Member> | null {
  try {
    return parseDictionary(field)
  } catch {
    return null
  }
}

const ALGORITHMS = [
  ['sha-256', 'sha256'],
  ['sha-512', 'sha512'],
] as const
