import { randomUUID } from 'node:crypto'

/**
 * A time-ordered id with its noun in front, as `new_id` of the database makes them: `sta_` and the 32 hexadecimal digits
 * of a UUIDv7 (RFC 9562). For rows whose id must be known before they are written, because their event names it.
 * @param random a UUIDv4, whose random digits are taken: Node keeps a stock of them, which is cheaper than single bytes.
 */
export function newId(noun: string, now: Date, random: () => string = randomUUID): string {
  const digits = random().replaceAll('-', '')
  return `${noun}_${now.getTime().toString(16).padStart(12, '0')}7${digits.slice(13)}`
}
