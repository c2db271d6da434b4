/**
 * Decodes padded standard base64 and refuses everything that is not the one canonical spelling.
 * `Buffer.from(text, 'base64')` skips characters that it does not know, so the result is encoded again and compared.
 * @returns the bytes, or null when the text is not canonical.
 */
export function decodeBase64(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? plain(bytes) : null
}

/** Decodes unpadded base64url (RFC 4648 section 5), canonical spelling only. */
export function decodeBase64Url(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? plain(bytes) : null
}

/** Decodes either alphabet with padding, as DSSE 1.0.2 allows for `payload` and `sig`. */
export function decodeBase64Either(text: string): Uint8Array | null {
  if (!/[-_]/.test(text)) return decodeBase64(text)
  if (/[+/]/.test(text)) return null
  return decodeBase64(text.replaceAll('-', '+').replaceAll('_', '/'))
}

export function encodeBase64(bytes: Uint8Array): string {
  return view(bytes).toString('base64')
}

export function encodeBase64Url(bytes: Uint8Array): string {
  return view(bytes).toString('base64url')
}

/** Decodes lower or upper case hex of whole bytes; null when it is anything else. */
export function decodeHex(text: string): Uint8Array | null {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return null
  return plain(Buffer.from(text, 'hex'))
}

export function encodeHex(bytes: Uint8Array): string {
  return view(bytes).toString('hex')
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function plain(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes)
}
