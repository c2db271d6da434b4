import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDuration } from './duration.ts'

describe('a duration', () => {
  it.each([
    [90, 90],
    ['90', 90],
    ['10m', 600],
    ['1h 30m', 5400],
    ['1h30m', 5400],
    [' 1 h\t30 min ', 5400],
    ['2days', 172_800],
    ['10 20', 30],
    [0, 0],
  ])('%j is %d seconds', (given, seconds) => {
    expect(parseDuration(given)).toBe(seconds)
  })

  it.each([
    '',
    ' ',
    'm',
    '10 fortnights',
    '5constructor',
    '10M',
    '-1',
    '1.5h',
    '1h,',
    '1234567890',
    -1,
    1.5,
    Number.NaN,
    null,
    [],
  ])('%j is none', (given) => {
    expect(parseDuration(given)).toBeNull()
  })

  it('is the sum of its parts', () => {
    const part = fc.tuple(
      fc.nat(999_999),
      fc.constantFrom('s', 'm', 'h', 'd'),
      fc.constantFrom('', ' ', '\t '),
    )
    const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const text = parts.map(([count, unit, space]) => `${count}${unit}${space}`).join('')
        expect(parseDuration(text)).toBe(parts.reduce((sum, [count, unit]) => sum + count * seconds[unit], 0))
      }),
    )
  })

  it('is refused at once however many digits or spaces stand before the fault', () => {
    // A pattern that may split digits in every way would not come back.
    for (const filler of ['1', '1 ', '1m', ' '])
      expect(parseDuration(`${filler.repeat(100_000)}!`)).toBeNull()
  })
})
