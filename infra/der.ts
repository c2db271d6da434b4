/** One value of DER (X.690): what kind it is, what it holds, and the bytes of both together, which a signature covers. */
export type DerValue = { readonly tag: number; readonly content: Buffer; readonly whole: Buffer }

/**
 * The values that stand one after the other in `bytes`.
 * @throws {RangeError} when a length does not fit, is indefinite or has more than four bytes
 */
export function readDer(bytes: Buffer): DerValue[] {
  const values: DerValue[] = []
  let rest = bytes
  while (rest.length > 0) {
    const value = first(rest)
    values.push(value)
    rest = rest.subarray(value.whole.length)
  }
  return values
}

function first(bytes: Buffer): DerValue {
  const { header, length } = lengthOf(bytes)
  const end = header + length
  if (end > bytes.length) throw new RangeError('a value is longer than what holds it')
  return { tag: bytes.readUInt8(0), content: bytes.subarray(header, end), whole: bytes.subarray(0, end) }
}

function lengthOf(bytes: Buffer): { readonly header: number; readonly length: number } {
  const short = bytes.readUInt8(1)
  if (short < 0x80) return { header: 2, length: short }
  const more = short - 0x80
  if (more < 1 || more > 4) throw new RangeError('a length has no or more than four bytes')
  return { header: 2 + more, length: bytes.readUIntBE(2, more) }
}

export const TAG = {
  integer: 0x02,
  bitString: 0x03,
  objectId: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const
