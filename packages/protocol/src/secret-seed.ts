import { createPrivateKey, createPublicKey, type KeyObject, randomBytes } from 'node:crypto'
import { decodeBase64, encodeBase64 } from './base64.ts'

/**
 * A 32-byte Ed25519 seed. The bytes leave it only through `privateKeyOf` and `renderSeed`: logs, JSON and
 * `util.inspect` show a placeholder.
 */
export class SecretSeed {
  readonly #bytes: Uint8Array
  readonly #privateKey: KeyObject

  /** @throws RangeError unless there are exactly 32 bytes. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== 32) throw new RangeError(`an Ed25519 seed has 32 bytes, not ${bytes.length}`)
    this.#bytes = new Uint8Array(bytes)
    const der = Buffer.concat([PKCS8_PREFIX, this.#bytes])
    this.#privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  }

  static privateKey(seed: SecretSeed): KeyObject {
    return seed.#privateKey
  }

  static bytes(seed: SecretSeed): Uint8Array {
    return new Uint8Array(seed.#bytes)
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

/**
 * Reads a private key file of the original's format: base64 of the raw seed, surrounding white space trimmed.
 * @returns null when it is anything else; the text never appears in an error.
 */
export function parseSeed(text: string): SecretSeed | null {
  const bytes = decodeBase64(text.trim())
  return bytes !== null && bytes.length === 32 ? new SecretSeed(bytes) : null
}

/** The content of a private key file. The caller writes it with mode 0600 and nowhere else. */
export function renderSeed(seed: SecretSeed): string {
  return encodeBase64(SecretSeed.bytes(seed))
}

export function publicKeyOfSeed(seed: SecretSeed): Uint8Array {
  const der = createPublicKey(SecretSeed.privateKey(seed)).export({ format: 'der', type: 'spki' })
  return new Uint8Array(der.subarray(12))
}

/** A fresh pair. `random` is replaceable so that tests are deterministic. */
export function generateKeyPair(random: (size: number) => Uint8Array = randomBytes): {
  readonly seed: SecretSeed
  readonly publicKey: Uint8Array
} {
  const seed = new SecretSeed(random(32))
  return { seed, publicKey: publicKeyOfSeed(seed) }
}

const REDACTED = '[secret Ed25519 seed]'

/** RFC 8410 section 7: version 0, algorithm 1.3.101.112, an OCTET STRING around the 32 bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
