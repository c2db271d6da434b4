import { encodeBase64 } from '../base64.ts'
import {
  type InnerList,
  type Item,
  parseDictionary,
  parseList,
  serializeBareItem,
  serializeDictionary,
  serializeList,
  serializeMember,
  serializeParameters,
} from '../structured-fields.ts'
import {
  fieldLines,
  normalAuthority,
  type RequestMessage,
  type ResponseMessage,
  splitTarget,
} from './message.ts'

/**
 * The signature base of RFC 9421 section 2.5: the text that is signed.
 * @param covered the inner list of `Signature-Input` with its parameters.
 * @returns null when a component repeats, does not resolve to exactly one value, or would not be ASCII on one line.
 */
export function signatureBase(message: RequestMessage | ResponseMessage, covered: InnerList): string | null {
  const seen = new Set<string>()
  let base = ''
  for (const item of covered.items) {
    const identifier = serializeMember(item)
    if (item.value.kind !== 'string' || seen.has(identifier)) return null
    seen.add(identifier)
    const value = resolve(message, item.value.value, item)
    if (value === null || !/^[\x20-\x7e\t]*$/.test(value)) return null
    base += `${identifier}: ${value}\n`
  }
  return `${base}"@signature-params": ${serializeMember(covered)}`
}

/** Whether two items name the same component: same name, same parameters in any order. */
export function componentKey(item: Item): string {
  if (item.parameters.size === 0) return serializeBareItem(item.value)
  const sorted = new Map([...item.parameters].sort(([a], [b]) => (a < b ? -1 : 1)))
  return serializeBareItem(item.value) + serializeParameters(sorted)
}

function resolve(message: RequestMessage | ResponseMessage, name: string, item: Item): string | null {
  if (name.startsWith('@')) {
    return 'status' in message ? resolveOfResponse(message, name, item) : resolveDerived(message, name, item)
  }
  return /^[a-z0-9!#$%&'*+\-.^_`|~]+$/.test(name)
    ? resolveField(fieldLines(message.fields, name), name, item)
    : null
}

function resolveOfResponse(message: ResponseMessage, name: string, item: Item): string | null {
  return name === '@status' && item.parameters.size === 0 ? String(message.status) : null
}

function resolveDerived(message: RequestMessage, name: string, item: Item): string | null {
  const { path, query } = splitTarget(originForm(message.target))
  if (name === '@query-param') return resolveQueryParameter(query, item)
  if (item.parameters.size > 0) return null
  switch (name) {
    case '@method':
      return message.method
    case '@authority':
      return normalAuthority(message.authority)
    case '@scheme':
      return 'https'
    case '@target-uri':
      return `https://${normalAuthority(message.authority)}${originForm(message.target)}`
    case '@request-target':
      return message.target
    case '@path':
      return path === '' ? '/' : path
    case '@query':
      return query === '' ? '?' : query
    default:
      return null
  }
}

/** A target may come in absolute form (RFC 9112 section 3.2.2); who it is for is said by the authority, so path and query remain. */
function originForm(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '')
}

/** RFC 9421 section 2.2.8: the one value of a name, both in their percent-encoded form. */
function resolveQueryParameter(query: string, item: Item): string | null {
  const name = item.parameters.get('name')
  if (item.parameters.size !== 1 || name?.kind !== 'string') return null
  const values: string[] = []
  for (const [key, value] of new URLSearchParams(query)) {
    if (percentEncode(key) === name.value) values.push(percentEncode(value))
  }
  return values.length === 1 ? (values[0] ?? null) : null
}

function percentEncode(text: string): string {
  const encode = (character: string) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  return encodeURIComponent(text).replace(/[!'()~]/g, encode)
}

/** Section 2.1 with its parameters `sf`, `key` and `bs`. Trailers (`tr`) and related requests (`req`) are never at hand. */
function resolveField(lines: readonly string[], name: string, item: Item): string | null {
  if (lines.length === 0) return null
  const { parameters } = item
  if (parameters.size === 0) return lines.join(', ')
  if (parameters.size !== 1) return null
  const flag = (key: string) => parameters.get(key)?.kind === 'boolean' && parameters.get(key)?.value === true
  if (flag('bs')) return lines.map((line) => `:${encodeBase64(new TextEncoder().encode(line))}:`).join(', ')
  const key = parameters.get('key')
  try {
    if (key?.kind === 'string') {
      const member = parseDictionary(lines.join(', ')).get(key.value)
      return member === undefined ? null : serializeMember(member)
    }
    return flag('sf') ? serializeKnown(lines.join(', '), name) : null
  } catch {
    return null
  }
}

/** `sf` needs to know what a field holds; a field outside this table does not resolve. */
function serializeKnown(value: string, name: string): string | null {
  if (DICTIONARY_FIELDS.has(name)) return serializeDictionary(parseDictionary(value))
  if (LIST_FIELDS.has(name)) return serializeList(parseList(value))
  return null
}

const DICTIONARY_FIELDS: ReadonlySet<string> = new Set([
  'accept-signature',
  'cache-control',
  'content-digest',
  'priority',
  'repr-digest',
  'signature',
  'signature-input',
  'want-content-digest',
  'want-repr-digest',
])
const LIST_FIELDS: ReadonlySet<string> = new Set([
  'accept',
  'cache-status',
  'content-type',
  'proxy-status',
  'vary',
])
