/**
 * Nix's base 32: own alphabet (no e, o, t, u), most significant digit first, over the bytes read from the last to the first.
 * A hash of n bytes has ceil(8n / 5) digits.
 */
export function encodeNixBase32(bytes: Uint8Array): string {
  let text = ''
  for (let digit = digits(bytes.length) - 1; digit >= 0; digit--) {
    const bit = digit * 5
    const byte = bit >> 3
    const shift = bit & 7
    const value = ((bytes[byte] ?? 0) >> shift) | ((bytes[byte + 1] ?? 0) << (8 - shift))
    text += ALPHABET[value & 31]
  }
  return text
}

/** @returns the bytes, or null for a foreign character, a wrong length, or bits that no byte holds. */
export function decodeNixBase32(text: string, length: number): Uint8Array | null {
  if (text.length !== digits(length)) return null
  const bytes = new Uint8Array(length)
  for (let at = 0; at < text.length; at++) {
    const value = ALPHABET.indexOf(text.charAt(text.length - 1 - at))
    if (value < 0) return null
    const bit = at * 5
    const byte = bit >> 3
    const shifted = value << (bit & 7)
    const high = shifted >> 8
    bytes[byte] = (bytes[byte] ?? 0) | (shifted & 255)
    if (high === 0) continue
    if (byte + 1 >= length) return null
    bytes[byte + 1] = (bytes[byte + 1] ?? 0) | high
  }
  return bytes
}

function digits(length: number): number {
  return Math.ceil((length * 8) / 5)
}

const ALPHABET = '0123456789abcdfghijklmnpqrsvwxyz'
