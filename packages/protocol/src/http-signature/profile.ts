/** What the two sides of a signed request agree on. Both import this file and never each other. */

export type RequestTag = 'crystal-forge-agent-v1' | 'crystal-forge-builder-v1' | 'crystal-forge-operator-v1'

/** Every signature covers these, without parameters, in any order. */
export const REQUIRED_COMPONENTS: readonly string[] = [
  '@method',
  '@authority',
  '@path',
  '@query',
  'content-type',
  'content-digest',
]

/** The label of a request with one signature. A verifier takes any label; the signer uses this one. */
export const DEFAULT_LABEL = 'cf'

export const NONCE_PATTERN: RegExp = /^[A-Za-z0-9_-]{22,64}$/

/** A signature lives five minutes at most, so that the replay memory stays small. */
export const VALID_SECONDS_MAX = 300
export const VALID_SECONDS_DEFAULT = 60
/** How far a clock may run ahead, and how long after `expires` a request is still taken. */
export const SKEW_SECONDS = 60
export const AGE_SECONDS_MAX = 300

/** A report is about 2 KiB; a spool batch or a closure commit stays below this. */
export const BODY_BYTES_MAX: number = 1024 * 1024
export const SIGNATURE_FIELD_BYTES_MAX: number = 8 * 1024
export const FIELDS_BYTES_MAX: number = 16 * 1024

/**
 * Whether a target may be routed: an absolute path of unreserved characters without empty or dot segments, so that no two
 * components read it differently; the query is printable ASCII without a fragment.
 */
export function isPlainTarget(target: string): boolean {
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  if (!/^\/[A-Za-z0-9._~/-]*$/.test(path) || path.includes('//')) return false
  if (path.split('/').some((segment) => segment === '.' || segment === '..')) return false
  return mark < 0 || /^\?[\x21\x24-\x3b\x3d\x3f-\x5a\x5f\x61-\x7a\x7e[\]%&=]*$/.test(target.slice(mark))
}
