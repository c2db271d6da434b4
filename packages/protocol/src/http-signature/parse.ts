import { type InnerList, type Member, parseDictionary } from '../structured-fields.ts'
import { componentKey, signatureBase } from './base.ts'
import { type Fields, fieldLines, type SignedRequest } from './message.ts'
import {
  BODY_BYTES_MAX,
  FIELDS_BYTES_MAX,
  isPlainTarget,
  NONCE_PATTERN,
  REQUIRED_COMPONENTS,
  SIGNATURE_FIELD_BYTES_MAX,
} from './profile.ts'
import { type Refusal, refuse } from './refusal.ts'

/** One signature of a request: who claims to have signed, when, and the exact bytes. Nothing is verified yet. */
export type ClaimedSignature = {
  readonly label: string
  readonly keyId: string
  readonly nonce: string
  readonly created: number
  readonly expires: number
  readonly tag: string
  readonly base: Uint8Array
  readonly signature: Uint8Array
}

/**
 * Everything that can be said about a request without a key or a clock: limits, shape, one signature for each expected label,
 * covered components, parameters. `labels` null means: exactly one, under any label.
 */
export function parseSignedRequest(
  request: SignedRequest,
  labels: readonly string[] | null = null,
): { readonly ok: true; readonly signatures: readonly ClaimedSignature[] } | Refusal {
  const unfit = checkFrame(request)
  if (unfit !== null) return unfit
  const inputs = fieldLines(request.fields, 'signature-input')
  const values = fieldLines(request.fields, 'signature')
  if (inputs.length === 0 || values.length === 0) {
    return refuse('unsigned', 'Send the headers Signature-Input and Signature.')
  }
  const input = dictionaryOf(inputs)
  if (input === null)
    return refuse('malformed_signature_input', 'Signature-Input is not one dictionary of unique labels.')
  const signature = dictionaryOf(values)
  if (signature === null)
    return refuse('malformed_signature', 'Signature is not one dictionary of unique labels.')
  const expected = labels ?? [...input.keys()].slice(0, 1)
  if (!hasExactly(input, expected)) {
    const wanted = labels === null ? 'one label' : `the labels ${labels.join(' and ')}`
    return refuse('malformed_signature_input', `Signature-Input must have exactly ${wanted}.`)
  }
  if (!hasExactly(signature, expected)) {
    return refuse('malformed_signature', 'Signature must have the labels of Signature-Input.')
  }
  return collect(expected, (label) => parseOne(request, label, input.get(label), signature.get(label)))
}

/** The path is checked before anything else: a target that two components could read differently is never routed. */
export function checkFrame(request: SignedRequest): Refusal | null {
  if (!isPlainTarget(request.target)) {
    return refuse('bad_target', 'The path takes A-Z a-z 0-9 . _ ~ - and single slashes, no dot segments.')
  }
  const { fields, body } = request
  if (fieldBytes(fields) > FIELDS_BYTES_MAX) return refuse('too_large', 'All headers together exceed 16 KiB.')
  for (const name of ['signature-input', 'signature']) {
    const bytes = fieldLines(fields, name).reduce((sum, line) => sum + Buffer.byteLength(line), 0)
    if (bytes > SIGNATURE_FIELD_BYTES_MAX) return refuse('too_large', `The header ${name} exceeds 8 KiB.`)
  }
  if (body.length > BODY_BYTES_MAX) return refuse('too_large', 'The body exceeds 1 MiB.', 413)
  const encodings = fieldLines(fields, 'content-encoding')
  if (encodings.some((encoding) => encoding.toLowerCase() !== 'identity')) {
    return refuse('encoding_not_allowed', 'Send the body without Content-Encoding.')
  }
  return checkRepeats(fields)
}

function checkRepeats(fields: Fields): Refusal | null {
  const repeated = (name: string) => fieldLines(fields, name).length > 1
  if (repeated('signature-input'))
    return refuse('malformed_signature_input', 'Signature-Input is sent more than once.')
  if (repeated('signature')) return refuse('malformed_signature', 'Signature is sent more than once.')
  if (repeated('content-digest')) return refuse('digest_mismatch', 'Content-Digest is sent more than once.')
  for (const name of ['host', 'content-type', 'content-length', 'content-encoding']) {
    if (repeated(name)) return refuse('duplicate_header', `The header ${name} is sent more than once.`)
  }
  return null
}

function parseOne(
  request: SignedRequest,
  label: string,
  input: Member | undefined,
  value: Member | undefined,
): ClaimedSignature | Refusal {
  if (input?.kind !== 'inner-list') {
    return refuse('malformed_signature_input', 'A member of Signature-Input must be an inner list.')
  }
  if (value?.kind !== 'item' || value.value.kind !== 'bytes' || value.parameters.size > 0) {
    return refuse('malformed_signature', 'A member of Signature must be a byte sequence without parameters.')
  }
  if (value.value.value.length !== 64)
    return refuse('malformed_signature', 'An Ed25519 signature has 64 bytes.')
  const uncovered = checkComponents(input)
  if (uncovered !== null) return uncovered
  const parameters = readParameters(input)
  if ('ok' in parameters) return parameters
  const base = signatureBase(request, input)
  if (base === null) return refuse('components', 'A covered component is not in the request.')
  return { label, ...parameters, base: UTF8.encode(base), signature: value.value.value }
}

function checkComponents(input: InnerList): Refusal | null {
  const seen = new Set<string>()
  const plain = new Set<string>()
  for (const item of input.items) {
    if (item.value.kind !== 'string')
      return refuse('malformed_signature_input', 'A component name must be a string.')
    const key = componentKey(item)
    if (seen.has(key)) return refuse('malformed_signature_input', `The component ${key} is covered twice.`)
    seen.add(key)
    if (item.parameters.size === 0) plain.add(item.value.value)
    else if (REQUIRED_COMPONENTS.includes(item.value.value)) {
      return refuse('components', `The component ${item.value.value} must be covered without parameters.`)
    }
  }
  const missing = REQUIRED_COMPONENTS.filter((name) => !plain.has(name))
  return missing.length === 0 ? null : refuse('components', `Not covered: ${missing.join(', ')}.`)
}

function readParameters(
  input: InnerList,
): Pick<ClaimedSignature, 'keyId' | 'nonce' | 'created' | 'expires' | 'tag'> | Refusal {
  const { parameters } = input
  const missing = PARAMETERS.filter((name) => !parameters.has(name))
  if (missing.length > 0)
    return refuse('missing_parameter', `Missing signature parameters: ${missing.join(', ')}.`)
  if (parameters.size !== PARAMETERS.length) {
    return refuse(
      'malformed_signature_input',
      `The signature parameters are ${PARAMETERS.join(', ')}, and no others.`,
    )
  }
  const created = parameters.get('created')
  const expires = parameters.get('expires')
  if (created?.kind !== 'integer' || expires?.kind !== 'integer') {
    return refuse('malformed_signature_input', 'created and expires must be integers.')
  }
  const text = (name: string): string | null => {
    const item = parameters.get(name)
    return item?.kind === 'string' ? item.value : null
  }
  const [nonce, keyId, alg, tag] = [text('nonce'), text('keyid'), text('alg'), text('tag')]
  if (nonce === null || keyId === null || alg === null || tag === null) {
    return refuse('malformed_signature_input', 'nonce, keyid, alg and tag must be strings.')
  }
  if (!NONCE_PATTERN.test(nonce)) return refuse('nonce', 'A nonce has 22 to 64 characters of base64url.')
  if (alg !== 'ed25519') return refuse('algorithm', 'The only algorithm is ed25519.')
  return { keyId, nonce, created: created.value, expires: expires.value, tag }
}

function collect(
  labels: readonly string[],
  parse: (label: string) => ClaimedSignature | Refusal,
): { readonly ok: true; readonly signatures: readonly ClaimedSignature[] } | Refusal {
  const signatures: ClaimedSignature[] = []
  for (const label of labels) {
    const one = parse(label)
    if ('ok' in one) return one
    signatures.push(one)
  }
  return { ok: true, signatures }
}

function dictionaryOf(lines: readonly string[]): ReadonlyMap<string, Member> | null {
  try {
    const dictionary = parseDictionary(lines.join(', '))
    return dictionary.size === 0 ? null : dictionary
  } catch {
    return null
  }
}

function hasExactly(dictionary: ReadonlyMap<string, Member>, labels: readonly string[]): boolean {
  return dictionary.size === labels.length && labels.every((label) => dictionary.has(label))
}

/** As HTTP/1.1 sends them: name, colon, space, value, CR LF. */
function fieldBytes(fields: Fields): number {
  return fields.reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value) + 4, 0)
}

const UTF8 = new TextEncoder()
const PARAMETERS: readonly string[] = ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag']
