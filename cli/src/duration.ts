/** `90`, `"10m"`, `"1h 30m"`: whole seconds, or null when it is none. The original's files use both. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : null
  if (typeof value !== 'string') return null
  let seconds = 0
  let read = 0
  for (const [part, count = '', unit = ''] of value.matchAll(PART)) {
    const factor = UNITS.get(unit)
    if (factor === undefined) return null
    seconds += Number(count) * factor
    read += part.length
  }
  return read > 0 && read === value.length ? seconds : null
}

/** One after the other from the beginning: each place is tried once, however long the text is. */
const PART = /\s*([0-9]{1,9})(?![0-9])\s*([a-z]*)\s*/gy
const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['s', 1],
  ['sec', 1],
  ['m', 60],
  ['min', 60],
  ['h', 3600],
  ['hour', 3600],
  ['hours', 3600],
  ['d', 86_400],
  ['day', 86_400],
  ['days', 86_400],
])
