/** A one-time token as its key id names it. The token itself is never sent; a request is signed with it. */
export type TokenPrincipal = {
  readonly kind: 'token'
  readonly tenant: string
  readonly token: string
  readonly keyId: string
  /** A host name, or a pattern in which `*` stands for any characters but dots. */
  readonly hostnamePattern: string
}

/** A nonce that the request spends, one for each of its two signatures. */
export type Spent = { readonly keyId: string; readonly nonce: string; readonly expiresAt: Date }

/** A request to enrol that was signed by the new key and by the token. */
export type Enrolment = {
  readonly token: TokenPrincipal
  readonly hostname: string
  /** Which configuration of the token's flake the host follows. */
  readonly configuration: string
  readonly keyId: string
  readonly publicKey: Uint8Array
  readonly spent: readonly Spent[]
  readonly at: Date
  readonly body: Uint8Array
  readonly http: object
}

export type Enrolled =
  | { readonly kind: 'enrolled'; readonly system: string }
  /** The same host, key and token before: the answer got lost. */
  | { readonly kind: 'enrolled_before'; readonly system: string }
  | { readonly kind: 'replayed' }
  | { readonly kind: 'token_refused'; readonly because: 'used' | 'revoked' | 'expired' | 'other_host' }
  /** The key belongs to somebody already, active or revoked. */
  | { readonly kind: 'key_in_use' }
  /** The host has an active key; only a token for exactly this host replaces it. */
  | { readonly kind: 'host_has_key' }
  /** An operator took the host out of service. */
  | { readonly kind: 'system_inactive' }

/** Atomic: nonces, token, system, key and event, or nothing. Of two hosts with one token, even at once, one is enrolled. */
export type Enrolments = {
  enrol(enrolment: Enrolment): Promise<Enrolled>
}

/** A request to replace a key, signed by the new and by the present one. */
export type Rotation = {
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly oldKeyId: string
  readonly keyId: string
  readonly publicKey: Uint8Array
  readonly spent: readonly Spent[]
  readonly at: Date
  readonly body: Uint8Array
  readonly http: object
}

export type Rotated =
  | { readonly kind: 'rotated' }
  /** The old key was replaced by exactly this one: the answer got lost. */
  | { readonly kind: 'rotated_before' }
  | { readonly kind: 'replayed' }
  | { readonly kind: 'key_in_use' }
  /** The present key is no longer active. */
  | { readonly kind: 'refused' }

/** Atomic: the new key is active and the old one revoked, or nothing happened. */
export type Rotations = {
  rotate(rotation: Rotation): Promise<Rotated>
}

/**
 * Whether a token is for this host. `*` matches one or more characters of one label, so `web-*` is not for
 * `web-1.other-domain`. Follows all matches at once, so that no pattern takes long.
 */
export function isForHost(pattern: string, hostname: string): boolean {
  const name = hostname.toLowerCase()
  let reached = new Set([0])
  for (const character of pattern.toLowerCase()) {
    const next = new Set<number>()
    for (const at of reached) {
      if (character !== '*' && name[at] === character) next.add(at + 1)
      for (let end = at; character === '*' && end < name.length && name[end] !== '.'; end++) next.add(end + 1)
    }
    reached = next
  }
  return reached.has(name.length)
}

/** Whether a token names one host, and so may replace the key of a host that has one. */
export function namesOneHost(pattern: string): boolean {
  return !pattern.includes('*')
}
