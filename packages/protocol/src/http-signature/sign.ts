import { contentDigest } from '../content-digest.ts'
import { signEd25519 } from '../ed25519-sign.ts'
import { keyId } from '../keys.ts'
import { publicKeyOfSeed, type SecretSeed } from '../secret-seed.ts'
import {
  type BareItem,
  type InnerList,
  type Member,
  serializeDictionary,
  serializeMember,
} from '../structured-fields.ts'
import { signatureBase } from './base.ts'
import {
  DEFAULT_LABEL,
  isPlainTarget,
  NONCE_PATTERN,
  REQUIRED_COMPONENTS,
  type RequestTag,
  VALID_SECONDS_DEFAULT,
  VALID_SECONDS_MAX,
} from './profile.ts'

/** What is signed. `authority` is the public host of the control plane, `target` path and query. */
export type RequestToSign = {
  readonly method: string
  readonly authority: string
  readonly target: string
  /** Default `application/json`, also for requests without a body. */
  readonly contentType?: string
  readonly body: Uint8Array
  readonly tag: RequestTag
  readonly now: Date
  /** Default 60, at most 300. */
  readonly validSeconds?: number
}

/** One key and the nonce it spends on this request: 22 to 64 characters of base64url, at least 128 random bits. */
export type Signer = { readonly seed: SecretSeed; readonly keyId?: string; readonly nonce: string }

/** The headers to send besides Host, ready for `fetch`. */
export type SignatureHeaders = {
  readonly 'content-type': string
  readonly 'content-digest': string
  readonly 'signature-input': string
  readonly signature: string
}

/** Signs a request once, as agents, builders and operators do. @throws RangeError for input that no verifier accepts. */
export function signRequest(request: RequestToSign & Signer): SignatureHeaders {
  return signWithLabels(request, new Map([[DEFAULT_LABEL, request]]))
}

/**
 * Signs a request with two keys, as enrolment (`new`, `boot`) and key rotation (`new`, `old`) ask.
 * @throws RangeError for input that no verifier accepts.
 */
export function signRequestTwice(
  request: RequestToSign,
  signers: { readonly new: Signer } & ({ readonly boot: Signer } | { readonly old: Signer }),
): SignatureHeaders {
  const second: [string, Signer] = 'boot' in signers ? ['boot', signers.boot] : ['old', signers.old]
  return signWithLabels(request, new Map([['new', signers.new], second]))
}

function signWithLabels(request: RequestToSign, signers: ReadonlyMap<string, Signer>): SignatureHeaders {
  checkInput(request)
  const unsigned = {
    'content-type': request.contentType ?? 'application/json',
    'content-digest': contentDigest(request.body),
  }
  const message = { ...request, fields: Object.entries(unsigned) }
  const inputs: string[] = []
  const signatures = new Map<string, Member>()
  for (const [label, signer] of signers) {
    const covered = coveredComponents(request, signer)
    const base = signatureBase(message, covered)
    if (base === null) throw new RangeError('a covered header holds a character that cannot be signed')
    inputs.push(`${label}=${serializeMember(covered)}`)
    const value: BareItem = { kind: 'bytes', value: signEd25519(new TextEncoder().encode(base), signer.seed) }
    signatures.set(label, { kind: 'item', value, parameters: new Map() })
  }
  return { ...unsigned, 'signature-input': inputs.join(', '), signature: serializeDictionary(signatures) }
}

function coveredComponents(request: RequestToSign, signer: Signer): InnerList {
  if (!NONCE_PATTERN.test(signer.nonce)) throw new RangeError('a nonce has 22 to 64 characters of base64url')
  const created = Math.floor(request.now.getTime() / 1000)
  const parameters = new Map<string, BareItem>([
    ['created', { kind: 'integer', value: created }],
    ['expires', { kind: 'integer', value: created + (request.validSeconds ?? VALID_SECONDS_DEFAULT) }],
    ['nonce', { kind: 'string', value: signer.nonce }],
    ['keyid', { kind: 'string', value: signer.keyId ?? keyId(publicKeyOfSeed(signer.seed)) }],
    ['alg', { kind: 'string', value: 'ed25519' }],
    ['tag', { kind: 'string', value: request.tag }],
  ])
  const items = REQUIRED_COMPONENTS.map((name) => ({
    kind: 'item' as const,
    value: { kind: 'string' as const, value: name },
    parameters: new Map<string, BareItem>(),
  }))
  return { kind: 'inner-list', items, parameters }
}

function checkInput(request: RequestToSign): void {
  const seconds = request.validSeconds ?? VALID_SECONDS_DEFAULT
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > VALID_SECONDS_MAX) {
    throw new RangeError(`validSeconds must be 1 to ${VALID_SECONDS_MAX}, not ${seconds}`)
  }
  if (!isPlainTarget(request.target)) {
    throw new RangeError(`not a target that can be signed: ${JSON.stringify(request.target.slice(0, 200))}`)
  }
}
