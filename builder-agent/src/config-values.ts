import * as z from 'zod'

/**
 * Seconds as a number or digits, or a sum of numbers with units (`90s`, `10m`, `1h 30m`), as the original's files have them.
 * The upper bound keeps every timer of the program within what a timer can hold.
 */
export function duration(bounds: {
  readonly least: number
  readonly most?: number
}): z.ZodType<number, unknown> {
  const { least, most = DURATION_S_MAX } = bounds
  return value((given) => {
    const seconds = parseDuration(given)
    if (seconds === null) return 'expected seconds or a text such as "10m" or "1h 30m"'
    return seconds < least || seconds > most ? `expected ${least} to ${most} seconds` : { value: seconds }
  })
}

/** @returns seconds, or null when it is no duration. */
export function parseDuration(given: unknown): number | null {
  if (typeof given === 'number') return Number.isFinite(given) && given >= 0 ? given : null
  if (typeof given !== 'string') return null
  const text = given.trim()
  if (/^[0-9]{1,9}$/.test(text)) return Number(text)
  if (!/^(?:[0-9]{1,9} *[a-z]+ *)+$/.test(text)) return null
  let seconds = 0
  for (const [, count, unit] of text.matchAll(/([0-9]+) *([a-z]+)/g)) {
    const factor = UNITS.get(unit ?? '')
    if (factor === undefined) return null
    seconds += Number(count) * factor
  }
  return seconds
}

/** Bytes as a number, or a text with K, M, G or T of 1024. */
export const bytes: z.ZodType<number, unknown> = value((given) => {
  if (typeof given === 'number' && Number.isSafeInteger(given) && given >= 0) return { value: given }
  const [, amount, unit = ''] =
    /^([0-9]{1,9})([KMGT]?)$/.exec(typeof given === 'string' ? given.trim() : '') ?? []
  if (amount === undefined) return 'expected bytes or a text such as "2G"'
  return { value: Number(amount) * 1024 ** ['', 'K', 'M', 'G', 'T'].indexOf(unit) }
})

/** A whole number; digits when it comes from the environment. */
export function count(least: number, most: number): z.ZodType<number, unknown> {
  return value((given) => {
    const number = typeof given === 'string' && /^[0-9]{1,9}$/.test(given) ? Number(given) : given
    return typeof number === 'number' && Number.isSafeInteger(number) && number >= least && number <= most
      ? { value: number }
      : `expected a whole number from ${least} to ${most}`
  })
}

export const flag: z.ZodType<boolean, unknown> = value((given) => {
  if (typeof given === 'boolean') return { value: given }
  return given === 'true' || given === 'false' ? { value: given === 'true' } : 'expected true or false'
})

/** A list of texts; one text with blanks or commas between when it comes from the environment. */
export const list: z.ZodType<readonly string[], unknown> = value((given) => {
  if (Array.isArray(given) && given.every((item) => typeof item === 'string')) return { value: given }
  return typeof given === 'string'
    ? { value: given.split(/[\s,]+/).filter((item) => item !== '') }
    : 'expected a list of texts'
})

export const absolutePath: z.ZodType<string, unknown> = value((given) =>
  typeof given === 'string' && /^\/[^\p{Cc}]*$/u.test(given) ? { value: given } : 'expected an absolute path',
)

/** A schema of one value from a function that answers the value or what was expected instead. */
function value<T>(read: (given: unknown) => { readonly value: T } | string): z.ZodType<T, unknown> {
  return z.unknown().transform((given, context) => {
    const answer = given === undefined ? 'is missing' : read(given)
    if (typeof answer !== 'string') return answer.value
    context.addIssue({ code: 'custom', message: answer })
    return z.NEVER
  })
}

/** A week: nothing that a builder does takes longer, and a timer of Node ends at 24 days. */
const DURATION_S_MAX = 7 * 86_400
const UNITS: ReadonlyMap<string, number> = new Map([
  ...['ms', 'msec', 'millis'].map((unit) => [unit, 0.001] as const),
  ...['s', 'sec', 'secs', 'second', 'seconds'].map((unit) => [unit, 1] as const),
  ...['m', 'min', 'mins', 'minute', 'minutes'].map((unit) => [unit, 60] as const),
  ...['h', 'hr', 'hrs', 'hour', 'hours'].map((unit) => [unit, 3600] as const),
  ...['d', 'day', 'days'].map((unit) => [unit, 86_400] as const),
])
