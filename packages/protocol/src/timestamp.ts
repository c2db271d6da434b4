/**
 * Reads an RFC 3339 timestamp to microseconds since the epoch (a safe integer until the year 2255); digits beyond are cut.
 * @returns null for anything else, including days that do not exist and leap seconds.
 */
export function parseTimestampMicros(text: string): number | null {
  const match = RFC3339.exec(text)
  if (match === null) return null
  const [, day = '', time = '', fraction = '', zone = ''] = match
  const wall = Date.parse(`${day}T${time}Z`)
  if (Number.isNaN(wall) || !new Date(wall).toISOString().startsWith(`${day}T${time}`)) return null
  const offset = offsetMinutes(zone)
  if (offset === null) return null
  return (wall - offset * 60_000) * 1000 + Number(fraction.padEnd(6, '0').slice(0, 6))
}

/** As `parseTimestampMicros`, in UTC only (`Z`), as a Date. */
export function parseUtcTimestamp(text: string): Date | null {
  const micros = text.endsWith('Z') ? parseTimestampMicros(text) : null
  return micros === null ? null : new Date(Math.floor(micros / 1000))
}

function offsetMinutes(zone: string): number | null {
  if (zone === 'Z' || zone === 'z') return 0
  const hours = Number(zone.slice(1, 3))
  const minutes = Number(zone.slice(4, 6))
  if (hours > 23 || minutes > 59) return null
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes)
}

const RFC3339 = /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/
