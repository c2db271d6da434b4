import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { Point } from '@noble/ed25519'
import { encodeHex } from './base64.ts'
import { spkiOf } from './keys.ts'

/**
 * Strict Ed25519, the answer of libsodium and of `verify_strict`: canonical A and R, neither of small order, S < L,
 * equation without cofactor. What node:crypto says about keys of small order, under one of which any message verifies, depends on
 * the OpenSSL behind it, so the rules are stated here.
 * Wrong lengths are an ordinary false.
 */
export function verifyEd25519({ message, publicKey, signature }: Ed25519Claim): boolean {
  const key = keyForStrict(publicKey, signature)
  return key !== null && verify(null, message, key, signature)
}

/**
 * The same answer, with the equation solved on a thread of libuv's pool: on a server of many hosts it is a quarter of a
 * request, and the event loop goes on meanwhile. The bytes are not to change until the promise settles.
 */
export function verifyEd25519InPool({ message, publicKey, signature }: Ed25519Claim): Promise<boolean> {
  const key = keyForStrict(publicKey, signature)
  if (key === null) return Promise.resolve(false)
  return new Promise((resolve, reject) => {
    verify(null, message, key, signature, (error, holds) => (error === null ? resolve(holds) : reject(error)))
  })
}

/** That the owner of `publicKey` (32 bytes) made `signature` (64 bytes) over `message`. */
export type Ed25519Claim = {
  readonly message: Uint8Array
  readonly publicKey: Uint8Array
  readonly signature: Uint8Array
}

/** Everything but the equation: the key as node:crypto takes it, or null when no message can verify. */
function keyForStrict(publicKey: Uint8Array, signature: Uint8Array): KeyObject | null {
  if (publicKey.length !== 32 || signature.length !== 64) return null
  if (isWeakEncoding(signature) || !isBelowGroupOrder(signature)) return null
  return checkedKey(publicKey)
}

/** What stands against using a public key at all, or null when it may be enrolled. */
export type KeyFault = 'length' | 'encoding' | 'small_order' | 'mixed_order'

/**
 * The gate for keys that are about to be stored: canonical, on the curve, not of small order, free of torsion.
 * Proof of possession (a request signed with the key) is the caller's part.
 */
export function checkEnrolmentKey(publicKey: Uint8Array): KeyFault | null {
  if (publicKey.length !== 32) return 'length'
  const point = decodePoint(publicKey)
  if (point === null) return 'encoding'
  if (point.isSmallOrder()) return 'small_order'
  return point.isTorsionFree() ? null : 'mixed_order'
}

/** Decoding a point costs more than the equation, so keys that passed are kept, the oldest leaving first. */
function checkedKey(publicKey: Uint8Array): KeyObject | null {
  const name = encodeHex(publicKey)
  const known = checkedKeys.get(name)
  if (known !== undefined) return known
  if (isWeakEncoding(publicKey) || decodePoint(publicKey) === null) return null
  const key = createPublicKey({ key: Buffer.from(spkiOf(publicKey)), format: 'der', type: 'spki' })
  if (checkedKeys.size >= CHECKED_KEYS_MAX) {
    for (const oldest of checkedKeys.keys()) {
      checkedKeys.delete(oldest)
      break
    }
  }
  checkedKeys.set(name, key)
  return key
}

function decodePoint(bytes: Uint8Array): Point | null {
  try {
    return Point.fromBytes(bytes, false)
  } catch {
    return null
  }
}

/**
 * Whether the first 32 bytes are a non-canonical y (y >= p) or a point of small order. For R nothing more is needed:
 * the equation compares the computed R byte by byte, so an R that is not on the curve never matches.
 */
function isWeakEncoding(bytes: Uint8Array): boolean {
  const top = (bytes[31] ?? 0) & 0x7f
  if (top === 0x7f && isAllOnes(bytes) && (bytes[0] ?? 0) >= 0xed) return true
  const first = bytes[0] ?? 0
  return SMALL_ORDER_Y.some(
    (y) => y[0] === first && y[31] === top && y.every((b, at) => at === 31 || b === bytes[at]),
  )
}

function isAllOnes(bytes: Uint8Array): boolean {
  for (let at = 1; at < 31; at++) if (bytes[at] !== 0xff) return false
  return true
}

/** S < L, little endian in the last 32 bytes. OpenSSL refuses the rest too; the rule is stated here so that it does not rest on that. */
function isBelowGroupOrder(signature: Uint8Array): boolean {
  for (let at = 31; at >= 0; at--) {
    const s = signature[32 + at] ?? 0
    const l = GROUP_ORDER[at] ?? 0
    if (s !== l) return s < l
  }
  return false
}

/** Enough for every key of a large fleet in one process, at about 1 KiB each. */
const CHECKED_KEYS_MAX = 20_000
const checkedKeys = new Map<string, KeyObject>()

/** The y coordinates of the eight points of small order (the sign bit is masked): 1, -1, 0 and the two of order 8. */
const SMALL_ORDER_Y: readonly Uint8Array[] = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
].map((hex) => new Uint8Array(Buffer.from(hex, 'hex')))

const GROUP_ORDER = new Uint8Array(
  Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex'),
)
