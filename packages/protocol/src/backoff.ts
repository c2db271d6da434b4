/**
 * How long to wait before attempt `attempt + 1`: exponential with full jitter, so that hosts that lost the server together do not come
 * back together. A `Retry-After` of the server is a floor below which nobody returns, with jitter on top.
 */
export function backoffMs(input: {
  /** Failed attempts so far, from 1. */
  readonly attempt: number
  readonly baseMs: number
  readonly maxMs: number
  /** A number in [0, 1), passed in so that the function is pure. */
  readonly random: number
  readonly retryAfterMs?: number
}): number {
  const exponent = Math.min(Math.max(input.attempt, 1) - 1, EXPONENT_MAX)
  const ceiling = Math.min(input.maxMs, input.baseMs * 2 ** exponent)
  const wait = Math.floor(input.random * ceiling)
  return input.retryAfterMs === undefined ? wait : Math.max(input.retryAfterMs, 0) + wait
}

/** Reads `Retry-After`: seconds or an HTTP date; null when it is neither. */
export function parseRetryAfterMs(value: string, now: Date): number | null {
  if (/^[0-9]{1,7}$/.test(value)) return Number(value) * 1000
  if (!/^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/.test(value))
    return null
  const at = Date.parse(value)
  return Number.isNaN(at) ? null : Math.max(0, at - now.getTime())
}

/** Beyond this the ceiling is `maxMs` for every sensible base, and 2 ** n stays a safe integer. */
const EXPONENT_MAX = 30
