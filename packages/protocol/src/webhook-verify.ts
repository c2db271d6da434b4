import { createHmac, timingSafeEqual } from 'node:crypto'
import { decodeBase64, decodeHex } from './base64.ts'
import { type Fields, fieldLines } from './http-signature/message.ts'

export type WebhookProvider = 'github' | 'gitlab' | 'gitea' | 'forgejo' | 'bitbucket'

/** `hmac`: the body is authenticated. `bearer`: only the sender knew a token; the body may have been changed by who saw it. */
export type WebhookAssurance = 'hmac' | 'bearer'

export type VerifiedDelivery = {
  readonly ok: true
  /** The forge's own id of the delivery, unique for the caller to record; null when the forge sent none. */
  readonly deliveryId: string | null
  readonly assurance: WebhookAssurance
  /** The forge's name of the event, such as `push`, `Push Hook` or `repo:push`. */
  readonly event: string | null
}

export type RefusedDelivery = {
  readonly ok: false
  readonly code:
    | 'no_secret'
    | 'unsigned'
    | 'duplicate_header'
    | 'malformed_signature'
    | 'stale_timestamp'
    | 'bad_signature'
}

/**
 * Whether a delivery comes from the forge that shares the secret. Provider and secrets come from the hook's row, never from the
 * request. `secrets` are the current and the previous one; empty ones are ignored. `body` are the raw bytes.
 */
export function verifyDelivery(delivery: {
  readonly provider: WebhookProvider
  readonly secrets: readonly string[]
  readonly fields: Fields
  readonly body: Uint8Array
  readonly now: Date
}): VerifiedDelivery | RefusedDelivery {
  const secrets = delivery.secrets.filter((secret) => secret !== '')
  if (secrets.length === 0) return { ok: false, code: 'no_secret' }
  if (HEADERS.some((name) => fieldLines(delivery.fields, name).length > 1))
    return { ok: false, code: 'duplicate_header' }
  const { fields, body } = delivery
  switch (delivery.provider) {
    case 'github':
      return answer(checkHex(fields, body, secrets, GITHUB), fields, 'x-github-delivery', 'x-github-event')
    case 'gitea':
      return answer(checkHex(fields, body, secrets, GITEA), fields, 'x-gitea-delivery', 'x-gitea-event')
    case 'bitbucket':
      return answer(checkHex(fields, body, secrets, BITBUCKET), fields, 'x-request-uuid', 'x-event-key')
    case 'forgejo':
      return verifyForgejo(fields, body, secrets)
    case 'gitlab':
      return verifyGitLab(fields, body, secrets, delivery.now)
  }
}

/** Forgejo also sends Gitea's headers; its own signature counts alone when it is present. */
function verifyForgejo(
  fields: Fields,
  body: Uint8Array,
  secrets: readonly string[],
): VerifiedDelivery | RefusedDelivery {
  const own = header(fields, 'x-forgejo-signature') !== null
  const checked = checkHex(fields, body, secrets, own ? FORGEJO : GITEA)
  const deliveryId = header(fields, 'x-forgejo-delivery') === null ? 'x-gitea-delivery' : 'x-forgejo-delivery'
  const event = header(fields, 'x-forgejo-event') === null ? 'x-gitea-event' : 'x-forgejo-event'
  return answer(checked, fields, deliveryId, event)
}

/** A signature counts alone when there is one: a token beside a bad signature is not a second chance. */
function verifyGitLab(
  fields: Fields,
  body: Uint8Array,
  secrets: readonly string[],
  now: Date,
): VerifiedDelivery | RefusedDelivery {
  if (STANDARD_HEADERS.some((name) => header(fields, name) !== null)) {
    return answer(checkStandard(fields, body, secrets, now), fields, 'webhook-id', 'x-gitlab-event')
  }
  const token = header(fields, 'x-gitlab-token')
  if (token === null || token === '') return { ok: false, code: 'unsigned' }
  const known = secrets.filter((secret) => sameText(secret, token)).length > 0
  const checked = known ? null : ({ ok: false, code: 'bad_signature' } as const)
  return answer(checked, fields, 'x-gitlab-event-uuid', 'x-gitlab-event', 'bearer')
}

/** Standard Webhooks 1.0: HMAC-SHA256 over `{id}.{timestamp}.{body}`, any of the `v1` signatures, 300 s either way. */
function checkStandard(
  fields: Fields,
  body: Uint8Array,
  secrets: readonly string[],
  now: Date,
): RefusedDelivery | null {
  const [id, timestamp, signatures] = STANDARD_HEADERS.map((name) => header(fields, name))
  if (!id || !timestamp || !signatures) return { ok: false, code: 'unsigned' }
  if (!/^[\x21-\x7e]{1,256}$/.test(id) || !/^(?:0|[1-9][0-9]{0,11})$/.test(timestamp)) {
    return { ok: false, code: 'malformed_signature' }
  }
  const candidates = signatures
    .split(' ')
    .filter((entry) => entry.startsWith('v1,'))
    .map((entry) => decodeBase64(entry.slice(3)))
    .filter((bytes): bytes is Uint8Array => bytes !== null && bytes.length === 32)
  if (candidates.length === 0 || candidates.length > SIGNATURES_MAX)
    return { ok: false, code: 'malformed_signature' }
  const message = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body])
  const matches = secrets.flatMap(standardKeys).filter((key) => {
    const expected = createHmac('sha256', key).update(message).digest()
    return candidates.filter((bytes) => timingSafeEqual(bytes, expected)).length > 0
  })
  if (matches.length === 0) return { ok: false, code: 'bad_signature' }
  const age = Math.abs(Math.floor(now.getTime() / 1000) - Number(timestamp))
  return age > TOLERANCE_SECONDS ? { ok: false, code: 'stale_timestamp' } : null
}

/** `whsec_<base64>` names key bytes. Without the prefix a secret may be meant as base64 or as it stands: both come from the hook's row. */
function standardKeys(secret: string): readonly Uint8Array[] {
  const prefixed = secret.startsWith('whsec_')
  const decoded = decodeBase64(prefixed ? secret.slice(6) : secret)
  const key = decoded !== null && decoded.length > 0 ? [decoded] : []
  return prefixed ? key : [...key, new TextEncoder().encode(secret)]
}

function checkHex(
  fields: Fields,
  body: Uint8Array,
  secrets: readonly string[],
  form: { readonly header: string; readonly prefix: string },
): RefusedDelivery | null {
  const text = header(fields, form.header)
  if (text === null || text === '') return { ok: false, code: 'unsigned' }
  const hex = text.startsWith(form.prefix) ? text.slice(form.prefix.length) : ''
  const given = /^[0-9a-f]{64}$/.test(hex) ? decodeHex(hex) : null
  if (given === null) return { ok: false, code: 'malformed_signature' }
  const matches = secrets.filter((secret) =>
    timingSafeEqual(createHmac('sha256', secret).update(body).digest(), given),
  )
  return matches.length > 0 ? null : { ok: false, code: 'bad_signature' }
}

function answer(
  refused: RefusedDelivery | null,
  fields: Fields,
  ...[id, event, assurance = 'hmac']: [id: string, event: string, assurance?: WebhookAssurance]
): VerifiedDelivery | RefusedDelivery {
  if (refused !== null) return refused
  const deliveryId = header(fields, id)
  const usable = deliveryId !== null && /^[\x21-\x7e]{1,256}$/.test(deliveryId)
  return { ok: true, deliveryId: usable ? deliveryId : null, assurance, event: header(fields, event) }
}

function header(fields: Fields, name: string): string | null {
  return fieldLines(fields, name)[0] ?? null
}

/** Compares through a MAC, so that neither length nor prefix shows in the time. */
function sameText(a: string, b: string): boolean {
  const mac = (text: string) => createHmac('sha256', 'compare').update(text).digest()
  return timingSafeEqual(mac(a), mac(b))
}

const GITHUB = { header: 'x-hub-signature-256', prefix: 'sha256=' }
const BITBUCKET = { header: 'x-hub-signature', prefix: 'sha256=' }
const GITEA = { header: 'x-gitea-signature', prefix: '' }
const FORGEJO = { header: 'x-forgejo-signature', prefix: '' }

const STANDARD_HEADERS: readonly string[] = ['webhook-id', 'webhook-timestamp', 'webhook-signature']
const TOLERANCE_SECONDS = 300
/** A sender that rotates keys sends two or three. */
const SIGNATURES_MAX = 16

/** Every header that decides something here; a second line of one is refused. */
const HEADERS: readonly string[] = [
  ...STANDARD_HEADERS,
  'x-hub-signature-256',
  'x-hub-signature',
  'x-gitea-signature',
  'x-forgejo-signature',
  'x-gitlab-token',
  'x-github-delivery',
  'x-gitea-delivery',
  'x-forgejo-delivery',
  'x-gitlab-event-uuid',
  'x-request-uuid',
  'x-github-event',
  'x-gitea-event',
  'x-forgejo-event',
  'x-gitlab-event',
  'x-event-key',
]
