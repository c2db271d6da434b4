import { randomBytes } from 'node:crypto'

/**
 * A time-ordered id with its noun in front, as `new_id` of the database makes them: `sta_` and the 32 hexadecimal digits
 * of a UUIDv7 (RFC 9562). For rows whose id must be known before they are written, because their event names it.
 */
export function newId(noun: string, now: Date, random: (size: number) => Uint8Array = randomBytes): string {
  const bytes = Buffer.alloc(16)
  bytes.set(random(10), 6)
  bytes.writeUIntBE(now.getTime(), 0, 6)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return `${noun}_${bytes.toString('hex')}`
}
