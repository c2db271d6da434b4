import { createHash } from 'node:crypto'

/** A UUID of version 5 (RFC 9562, 5.5) below the namespace of this project: the same name, the same id. */
export function uuid5(...name: readonly string[]): string {
  const bytes = createHash('sha1').update(NAMESPACE).update(name.join('\n'), 'utf8').digest().subarray(0, 16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** Drawn once at random; to change it changes the ids in every export. */
const NAMESPACE = Buffer.from('0d5a1f2c6b3e4f7a9c818e24d7b0a6f3', 'hex')
