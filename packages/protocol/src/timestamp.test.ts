import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseTimestampMicros, parseUtcTimestamp } from './timestamp.ts'

describe('a timestamp', () => {
  it('reads what Date writes', () => {
    fc.assert(
      fc.property(fc.date({ min: new Date(0), max: new Date('2200-01-01'), noInvalidDate: true }), (date) => {
        expect(parseTimestampMicros(date.toISOString())).toBe(date.getTime() * 1000)
        expect(parseUtcTimestamp(date.toISOString())).toEqual(date)
      }),
    )
  })

  it('keeps microseconds and applies the zone', () => {
    expect(parseTimestampMicros('1970-01-01T00:00:00.000123999Z')).toBe(123)
    expect(parseTimestampMicros('1970-01-01T01:00:00+01:00')).toBe(0)
    expect(parseTimestampMicros('1969-12-31T23:30:00-00:30')).toBe(0)
  })

  it.each([
    '2026-02-30T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01 00:00:00Z',
    '2026-01-01T00:00:00',
    '2026-01-01T00:00Z',
    '2026-01-01T00:00:00.Z',
    '2026-01-01T00:00:00+24:00',
    '1795375800',
    '',
  ])('is not %j', (text) => {
    expect(parseTimestampMicros(text)).toBeNull()
  })

  it('is in UTC where a zone could be argued about', () => {
    expect(parseUtcTimestamp('2026-01-01T00:00:00+00:00')).toBeNull()
  })
})
