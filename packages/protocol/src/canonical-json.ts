/** What JSON can say. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue }

/**
 * RFC 8785 (JCS): one text per value. Members are ordered by UTF-16 code units, numbers are printed as ECMAScript does.
 * Members whose value is undefined are left out, as in `JSON.stringify`.
 * @throws TypeError for what I-JSON cannot hold: NaN, infinities, lone surrogates, bigints, functions, class instances.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return canonicalString(value)
    case 'number':
      return canonicalNumber(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      if (value === null) return 'null'
      return Array.isArray(value) ? canonicalArray(value) : canonicalObject(value)
    default:
      throw new TypeError(`JSON has no ${typeof value}`)
  }
}

function canonicalArray(values: readonly unknown[]): string {
  let text = '['
  // By index, so that a hole is the undefined that it reads as, and refused.
  for (let at = 0; at < values.length; at++) text += (at === 0 ? '' : ',') + canonicalJson(values[at])
  return `${text}]`
}

function canonicalObject(value: object): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError('canonical JSON takes plain objects only')
  }
  const members: Readonly<Record<string, unknown>> = { ...value }
  let text = ''
  // The order of `sort` without a comparison is that of UTF-16 code units.
  for (const key of Object.keys(members).sort()) {
    const member = members[key]
    if (member !== undefined)
      text += `${text === '' ? '' : ','}${canonicalString(key)}:${canonicalJson(member)}`
  }
  return `{${text}}`
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`JSON has no ${value}`)
  return JSON.stringify(value)
}

function canonicalString(value: string): string {
  if (PLAIN.test(value)) return `"${value}"`
  if (!value.isWellFormed()) throw new TypeError('a string with a lone surrogate has no UTF-8')
  return JSON.stringify(value)
}

/** Printable ASCII without the two characters that are escaped: most strings. */
const PLAIN = /^[ !#-[\]-~]*$/
