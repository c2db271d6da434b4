import { type KeyObject, verify } from 'node:crypto'
import { type DerValue, readDer, TAG } from './der.ts'

/** A certificate revocation list, as far as a deployment has to know it. */
export type RevocationList = {
  /** Nobody may rely on it afterwards. */
  readonly endsAt: Date
  isSignedBy(authority: KeyObject): boolean
}

/**
 * Reads the outer parts of a certificate revocation list (RFC 5280, section 5.1) in DER.
 * @throws {RangeError} saying what is wrong, when it is none or one that IAM Roles Anywhere would not take
 */
export function readRevocationList(der: Buffer): RevocationList {
  const [list, ...after] = readDer(der)
  const [signed, algorithm, signature, ...more] = parts(list)
  if (signed === undefined || algorithm === undefined || signature === undefined) throw NO_LIST
  if (after.length > 0 || more.length > 0 || signature.tag !== TAG.bitString) throw NO_LIST
  const hash = HASHES[objectId(algorithm)]
  if (hash === undefined)
    throw new RangeError('it is signed neither with RSA nor with ECDSA over SHA-256 or longer')
  // The first byte of a bit string counts its unused bits, of which a signature has none.
  if (signature.content[0] !== 0) throw NO_LIST
  const bytes = signature.content.subarray(1)
  return {
    endsAt: nextUpdate(signed),
    isSignedBy: (authority) => verify(hash, signed.whole, authority, bytes),
  }
}

/** version (optional), signature, issuer, thisUpdate, nextUpdate, ... */
function nextUpdate(signed: DerValue): Date {
  const [first, ...others] = parts(signed)
  const fields = first?.tag === TAG.integer ? others : [first, ...others]
  const [algorithm, issuer, thisUpdate, next] = fields
  if (algorithm?.tag !== TAG.sequence || issuer?.tag !== TAG.sequence || !isTime(thisUpdate)) throw NO_LIST
  if (!isTime(next)) throw new RangeError('it does not say when the next one comes (nextUpdate)')
  return time(next)
}

function parts(value: DerValue | undefined): DerValue[] {
  if (value?.tag !== TAG.sequence) throw NO_LIST
  return readDer(value.content)
}

function objectId(algorithm: DerValue): string {
  const [id] = parts(algorithm)
  if (id?.tag !== TAG.objectId) throw NO_LIST
  return id.content.toString('hex')
}

function isTime(value: DerValue | undefined): value is DerValue {
  return value?.tag === TAG.utcTime || value?.tag === TAG.generalizedTime
}

/** `YYMMDDHHMMSSZ`, in which 50 is 1950, or `YYYYMMDDHHMMSSZ`: RFC 5280 allows no other forms. */
function time({ tag, content }: DerValue): Date {
  const short = tag === TAG.utcTime
  const text = content.toString('latin1')
  const full = short ? `${text < '50' ? '20' : '19'}${text}` : text
  const found = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(full)
  if (found === null) throw NO_LIST
  const [, year, month, day, hour, minute, second] = found
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}

/** Content of the object identifiers of signature algorithms, in hex. */
const HASHES: Readonly<Record<string, string>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
}

const NO_LIST = new RangeError('it is no certificate revocation list (RFC 5280)')
