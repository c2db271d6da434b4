/** `90`, `"10m"`, `"1h 30m"`: whole seconds, or null when it is none. The original's files use both. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : null
  if (typeof value !== 'string' || !/^\s*([0-9]{1,9}\s*[a-z]*\s*)+$/.test(value)) return null
  let seconds = 0
  for (const [, count = '', unit = ''] of value.matchAll(/([0-9]+)\s*([a-z]*)/g)) {
    const factor = UNITS[unit]
    if (factor === undefined) return null
    seconds += Number(count) * factor
  }
  return seconds
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  s: 1,
  sec: 1,
  m: 60,
  min: 60,
  h: 3600,
  hour: 3600,
  hours: 3600,
  d: 86_400,
  day: 86_400,
  days: 86_400,
}
