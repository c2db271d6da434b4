import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { decodeBase64 } from '@crystal-forge/protocol'

/** The 32-byte key that seals secrets at rest. Logs, JSON and `util.inspect` show a placeholder. */
export class SealingKey {
  readonly #bytes: Uint8Array

  /** @throws RangeError unless there are exactly 32 bytes. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== 32) throw new RangeError(`a sealing key has 32 bytes, not ${bytes.length}`)
    this.#bytes = new Uint8Array(bytes)
  }

  static bytes(key: SealingKey): Uint8Array {
    return key.#bytes
  }

  toString(): string {
    return REDACTED
  }

  toJSON(): string {
    return REDACTED
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return REDACTED
  }
}

/** Reads a sealing key file: base64 of 32 bytes, surrounding white space trimmed. Null when it is anything else. */
export function parseSealingKey(text: string): SealingKey | null {
  const bytes = decodeBase64(text.trim())
  return bytes !== null && bytes.length === 32 ? new SealingKey(bytes) : null
}

/**
 * AES-256-GCM: one version byte, a random 12-byte nonce, the 16-byte tag, the ciphertext. `owner` (the id of the row that
 * holds the result) is authenticated with it, so that a sealed secret moved to another row does not open.
 */
export function seal(secret: Uint8Array, owner: string, key: SealingKey): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', SealingKey.bytes(key), nonce)
  cipher.setAAD(Buffer.from(owner, 'utf8'))
  const sealed = Buffer.concat([cipher.update(secret), cipher.final()])
  return Buffer.concat([VERSION, nonce, cipher.getAuthTag(), sealed])
}

/** The secret that `seal` was given, or null when the bytes, the owner or the key are not those. */
export function unseal(sealed: Uint8Array, owner: string, key: SealingKey): Buffer | null {
  if (sealed.length < HEADER_BYTES || sealed[0] !== VERSION[0]) return null
  const bytes = Buffer.from(sealed)
  const decipher = createDecipheriv(
    'aes-256-gcm',
    SealingKey.bytes(key),
    bytes.subarray(1, 1 + NONCE_BYTES),
    {
      authTagLength: TAG_BYTES,
    },
  )
  decipher.setAAD(Buffer.from(owner, 'utf8'))
  decipher.setAuthTag(bytes.subarray(1 + NONCE_BYTES, HEADER_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(HEADER_BYTES)), decipher.final()])
  } catch {
    return null
  }
}

const REDACTED = '[secret sealing key]'
const VERSION = Buffer.from([1])
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEADER_BYTES = 1 + NONCE_BYTES + TAG_BYTES
