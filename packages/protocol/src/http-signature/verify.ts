import { availableParallelism } from 'node:os'
import { matchesContentDigest } from '../content-digest.ts'
import { checkEnrolmentKey, verifyEd25519, verifyEd25519InPool } from '../ed25519-verify.ts'
import { isKeyId, keyId } from '../keys.ts'
import { fieldLines, normalAuthority, type SignedRequest } from './message.ts'
import { type ClaimedSignature, parseSignedRequest } from './parse.ts'
import { AGE_SECONDS_MAX, type RequestTag, SKEW_SECONDS, VALID_SECONDS_MAX } from './profile.ts'
import { type Refusal, refuse } from './refusal.ts'

/** What is stored with a key. `principal` is whatever the caller needs to know about its owner: tenant, system, builder. */
export type KeyRecord<Principal> = {
  readonly status: 'active' | 'revoked'
  readonly publicKey: Uint8Array
  readonly principal: Principal
}

/** What a verifier is told about its place: which profile it serves, under which public host, and what time it is. */
export type RequestPolicy = {
  readonly tag: RequestTag
  /** The configured public host, such as `api.cf.example.com`. */
  readonly authority: string
  readonly now: Date
}

/** Who signed. The caller records (keyId, nonce) in the transaction of the effect; `replayUntil` is when the row may go. */
export type VerifiedSignature<Principal> = {
  readonly ok: true
  readonly keyId: string
  readonly principal: Principal
  readonly nonce: string
  /** Seconds since the epoch. */
  readonly created: number
  readonly expires: number
  readonly replayUntil: Date
}

/**
 * Verifies a request with one signature: who sent these bytes to this host and path, now. Whether they may, and whether
 * the nonce is fresh, is for the caller. `lookupKey` is asked at most once.
 */
export async function verifyRequest<Principal>(
  request: SignedRequest,
  policy: RequestPolicy & { readonly lookupKey: (keyId: string) => Promise<KeyRecord<Principal> | null> },
): Promise<VerifiedSignature<Principal> | Refusal> {
  const parsed = parseSignedRequest(request)
  if (!parsed.ok) return parsed
  const [claimed] = parsed.signatures
  if (claimed === undefined) return refuse('unsigned', 'Send the headers Signature-Input and Signature.')
  const untimely = checkTagAndClock(claimed, policy)
  if (untimely !== null) return untimely
  const record = isKeyId(claimed.keyId) ? await policy.lookupKey(claimed.keyId) : null
  const unproven = await checkSignature(claimed, record)
  if (unproven !== null) return unproven
  return checkMessage(request, policy) ?? verified(claimed, record)
}

/** How a request with two signatures is verified. */
export type TwoKeyPolicy<Principal> = RequestPolicy & {
  /** `boot` for enrolment with a token, `old` for rotation. */
  readonly second: 'boot' | 'old'
  /** The new public key that the body carries, or null when the body carries none. Called before the digest is checked. */
  readonly newKeyOf: (body: Uint8Array) => Uint8Array | null
  /** Looks up the second key: the token's or the old one. */
  readonly lookupKey: (keyId: string) => Promise<KeyRecord<Principal> | null>
}

/**
 * Verifies a request that is signed by a new key (possession) and by a known one (authority). Exactly these two labels;
 * each signature meets the whole profile and has its own nonce. The new key must also be fit for enrolment.
 */
export async function verifyTwoKeyRequest<Principal>(
  request: SignedRequest,
  policy: TwoKeyPolicy<Principal>,
): Promise<(VerifiedSignature<Principal> & { readonly newKey: NewKey }) | Refusal> {
  const parsed = parseSignedRequest(request, ['new', policy.second])
  if (!parsed.ok) return parsed
  const [fresh, known] = parsed.signatures
  if (fresh === undefined || known === undefined) return refuse('unsigned', 'Two signatures are needed.')
  const untimely = checkTagAndClock(fresh, policy) ?? checkTagAndClock(known, policy)
  if (untimely !== null) return untimely
  if (fresh.keyId === known.keyId) {
    return refuse('malformed_signature_input', 'The two signatures must come from two keys.')
  }
  const publicKey = policy.newKeyOf(request.body)
  const own = publicKey !== null && publicKey.length === 32 && keyId(publicKey) === fresh.keyId
  const newRecord = own ? { status: 'active' as const, publicKey, principal: null } : null
  const record = isKeyId(known.keyId) ? await policy.lookupKey(known.keyId) : null
  const unproven = (await checkSignature(known, record)) ?? (await checkSignature(fresh, newRecord))
  if (unproven !== null) return unproven
  const unfit = checkMessage(request, policy)
  if (unfit !== null) return unfit
  if (newRecord === null) return refuse('unknown_key', 'The body does not carry the new key.')
  const fault = checkEnrolmentKey(newRecord.publicKey)
  if (fault !== null) return refuse('weak_key', `The new key cannot be enrolled: ${fault}.`)
  const answer = verified(known, record)
  if (!answer.ok) return answer
  return { ...answer, newKey: { keyId: fresh.keyId, publicKey: newRecord.publicKey, nonce: fresh.nonce } }
}

export type NewKey = { readonly keyId: string; readonly publicKey: Uint8Array; readonly nonce: string }

/** Tag and time. The order of the time checks is part of the profile: skew, validity, expiry. */
function checkTagAndClock(claimed: ClaimedSignature, policy: RequestPolicy): Refusal | null {
  if (claimed.tag !== policy.tag) return refuse('tag', `The tag of this interface is ${policy.tag}.`)
  const now = Math.floor(policy.now.getTime() / 1000)
  const { created, expires } = claimed
  const serverTime = policy.now.toISOString()
  if (created > now + SKEW_SECONDS || created < now - AGE_SECONDS_MAX) {
    const skew = created - now
    return {
      ...refuse('clock_skew', `created is ${skew} s from the server's time; set the clock.`),
      serverTime,
    }
  }
  if (expires <= created || expires > created + VALID_SECONDS_MAX) {
    return refuse('malformed_signature_input', 'expires must be 1 to 300 s after created.')
  }
  if (expires + SKEW_SECONDS < now)
    return { ...refuse('expired', 'The signature has expired; sign again.'), serverTime }
  return null
}

/** The same work for an unknown key as for a known one, so that the time taken does not tell which keys exist. */
async function checkSignature(
  claimed: ClaimedSignature,
  record: KeyRecord<unknown> | null,
): Promise<Refusal | null> {
  const publicKey = record?.publicKey ?? NOBODYS_KEY
  const { base: message, signature } = claimed
  const holds = await solve({ message, publicKey, signature })
  if (record === null) return refuse('unknown_key', 'No key has this id.')
  if (record.status === 'revoked') return refuse('key_revoked', 'The key is revoked.')
  return holds ? null : refuse('bad_signature', 'The signature does not verify.')
}

/** What only makes sense once the sender is known: the host meant, the digest of the body, its media type. */
function checkMessage(request: SignedRequest, policy: RequestPolicy): Refusal | null {
  if (normalAuthority(request.authority) !== normalAuthority(policy.authority)) {
    return refuse('wrong_authority', `This is ${policy.authority}; the request was signed for another host.`)
  }
  const [digest] = fieldLines(request.fields, 'content-digest')
  if (digest === undefined || !matchesContentDigest(digest, request.body)) {
    return refuse('digest_mismatch', 'Content-Digest does not match the body.')
  }
  const [type] = fieldLines(request.fields, 'content-type')
  if (type === undefined || !/^application\/json(?:[ \t]*;[ \t]*charset="?utf-8"?)?$/i.test(type)) {
    return refuse('media_type_not_allowed', 'Content-Type must be application/json.')
  }
  return null
}

function verified<Principal>(
  claimed: ClaimedSignature,
  record: KeyRecord<Principal> | null,
): VerifiedSignature<Principal> | Refusal {
  if (record === null) return refuse('unknown_key', 'No key has this id.')
  const { keyId: id, nonce, created, expires } = claimed
  const replayUntil = new Date((expires + SKEW_SECONDS + 1) * 1000)
  return { ok: true, keyId: id, principal: record.principal, nonce, created, expires, replayUntil }
}

/** Where there is a second core, another thread solves the equation and the event loop goes on (measured by bench/p1-reports.ts). */
const solve = availableParallelism() > 1 ? verifyEd25519InPool : verifyEd25519

/** The base point: a well-formed key whose secret nobody uses, for the work done on unknown key ids. */
const NOBODYS_KEY = new Uint8Array(32).fill(0x66).fill(0x58, 0, 1)
