/** Why a request was not taken. For logs and tests; see `publicRefusal` for what a stranger is told. */
export type RefusalCode =
  | 'bad_target'
  | 'too_large'
  | 'encoding_not_allowed'
  | 'duplicate_header'
  | 'unsigned'
  | 'malformed_signature_input'
  | 'malformed_signature'
  | 'components'
  | 'missing_parameter'
  | 'nonce'
  | 'clock_skew'
  | 'expired'
  | 'algorithm'
  | 'tag'
  | 'unknown_key'
  | 'key_revoked'
  | 'bad_signature'
  | 'wrong_authority'
  | 'digest_mismatch'
  | 'media_type_not_allowed'
  | 'weak_key'
  | 'malformed_json'
  | 'invalid_body'
  | 'identity_mismatch'
  | 'replayed'

/** `serverTime` (ISO 8601) lets an agent with a wrong clock say so. */
export type Refusal = {
  readonly ok: false
  readonly status: number
  readonly code: RefusalCode
  readonly detail: string
  readonly serverTime?: string
}

export function refuse(code: RefusalCode, detail: string, status: number = STATUS[code]): Refusal {
  return { ok: false, status, code, detail }
}

/**
 * What the caller is told. Unknown key, revoked key and bad signature are one answer, so that nobody can ask which keys
 * exist; the other refusals help an honest client and carry their detail.
 */
export function publicRefusal(refusal: Refusal): {
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly serverTime?: string
} {
  if (!KEY_FAILURES.has(refusal.code)) {
    const { ok: _, ...rest } = refusal
    return rest
  }
  return {
    status: 401,
    code: 'signature_refused',
    detail: 'The signature does not verify with an active key.',
  }
}

const KEY_FAILURES: ReadonlySet<RefusalCode> = new Set(['unknown_key', 'key_revoked', 'bad_signature'])

const STATUS: Readonly<Record<RefusalCode, number>> = {
  bad_target: 400,
  too_large: 431,
  encoding_not_allowed: 415,
  duplicate_header: 400,
  unsigned: 401,
  malformed_signature_input: 401,
  malformed_signature: 401,
  components: 401,
  missing_parameter: 401,
  nonce: 401,
  clock_skew: 401,
  expired: 401,
  algorithm: 401,
  tag: 401,
  unknown_key: 401,
  key_revoked: 401,
  bad_signature: 401,
  wrong_authority: 421,
  digest_mismatch: 400,
  media_type_not_allowed: 415,
  weak_key: 400,
  malformed_json: 400,
  invalid_body: 400,
  identity_mismatch: 403,
  replayed: 409,
}
