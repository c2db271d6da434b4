/**
 * Reads a duration: whole seconds as a number or digits, or a sum of numbers with units (`90s`, `10m`, `1h 30m`, `500ms`), as the
 * original's configuration has them.
 * @returns milliseconds, or null when the text is none.
 */
export function parseDurationMs(value: unknown): number | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value * 1000 : null
  if (typeof value !== 'string') return null
  const text = value.trim()
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000
  if (!/^(?:[0-9]{1,9} *[a-z]+ *)+$/.test(text)) return null
  let total = 0
  for (const [, count, unit] of text.matchAll(/([0-9]+) *([a-z]+)/g)) {
    const factor = UNIT_MS.get(unit ?? '')
    if (factor === undefined) return null
    total += Number(count) * factor
  }
  return total
}

const SECOND = 1000
const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ...['ms', 'msec', 'millis'].map((unit) => [unit, 1] as const),
  ...['s', 'sec', 'secs', 'second', 'seconds'].map((unit) => [unit, SECOND] as const),
  ...['m', 'min', 'mins', 'minute', 'minutes'].map((unit) => [unit, 60 * SECOND] as const),
  ...['h', 'hr', 'hrs', 'hour', 'hours'].map((unit) => [unit, 3600 * SECOND] as const),
  ...['d', 'day', 'days'].map((unit) => [unit, 86_400 * SECOND] as const),
  ...['w', 'week', 'weeks'].map((unit) => [unit, 7 * 86_400 * SECOND] as const),
])
