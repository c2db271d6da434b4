import { randomBytes } from 'node:crypto'
import {
  generateKeyPair,
  keyId,
  type RequestTag,
  renderPublicKey,
  type SecretSeed,
  signRequest,
  signRequestTwice,
} from '@crystal-forge/protocol'
import { type Answer, exchange, type RawRequest } from './raw-http.ts'

export type Identity = {
  readonly name: string
  readonly seed: SecretSeed
  readonly keyId: string
  /** Base64, as the fleet declares it. */
  readonly publicKey: string
}

export function makeIdentity(name: string): Identity {
  const { seed, publicKey } = generateKeyPair()
  return { name, seed, keyId: keyId(publicKey), publicKey: renderPublicKey(publicKey) }
}

export type Signing = {
  readonly by: SecretSeed
  /** Where the server says it is. */
  readonly authority: string
  readonly tag: RequestTag
  readonly target: string
  /** Bytes and texts go as they are, anything else as JSON. */
  readonly body: unknown
  readonly now?: Date
  readonly nonce?: string
  readonly contentType?: string
  readonly keyId?: string
}

/** A request as an honest agent or builder sends it; tests change one thing of it. */
export function signed(signing: Signing): RawRequest {
  const { by, body, target, now = new Date(), nonce = freshNonce(), ...more } = signing
  const bytes = bytesOf(body)
  const headers = signRequest({ ...more, method: 'POST', target, body: bytes, seed: by, nonce, now })
  return post(signing, bytes, headers)
}

/** The same with a new key and the key that vouches for it. */
export function signedTwice(
  signing: Omit<Signing, 'by'> & { readonly fresh: SecretSeed },
  second: { readonly boot: SecretSeed } | { readonly old: SecretSeed },
): RawRequest {
  const { authority, tag, target, now = new Date() } = signing
  const bytes = bytesOf(signing.body)
  const own = { seed: signing.fresh, nonce: freshNonce() }
  const known = 'boot' in second ? second.boot : second.old
  const other = { seed: known, nonce: freshNonce() }
  const headers = signRequestTwice(
    { method: 'POST', authority, target, body: bytes, tag, now },
    'boot' in second ? { new: own, boot: other } : { new: own, old: other },
  )
  return post(signing, bytes, headers)
}

/** A request in which one header has another value, or (`null`) is left out. */
export function withHeader(request: RawRequest, name: string, value: string | null): RawRequest {
  const others = request.headers.filter(([one]) => one !== name)
  return { ...request, headers: value === null ? others : [...others, [name, value]] }
}

/** The value of a header of a request. */
export function headerOf(request: RawRequest, name: string): string {
  return request.headers.find(([one]) => one === name)?.[1] ?? ''
}

/** Sends what must be answered. */
export async function ask(url: string, request: RawRequest): Promise<Answer> {
  const answer = await exchange(url, request)
  if (answer === null) throw new Error(`${request.method} ${request.target} was not answered`)
  return answer
}

export function freshNonce(): string {
  return randomBytes(18).toString('base64url')
}

function post(
  { authority, target }: { readonly authority: string; readonly target: string },
  body: Uint8Array,
  headers: object,
): RawRequest {
  return { method: 'POST', target, headers: [['host', authority], ...Object.entries(headers)], body }
}

/** Bytes and texts as they stand, anything else as JSON. */
export function bytesOf(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}
