import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs, parseRetryAfterMs } from './backoff.ts'

describe('backoff', () => {
  it('stays below the doubled base and the ceiling, for any number of attempts', () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.nat(), random, (attempt, number) => {
        const wait = backoffMs({ attempt, baseMs: 1000, maxMs: 60_000, random: number })
        expect(wait).toBeGreaterThanOrEqual(0)
        expect(wait).toBeLessThan(Math.min(60_000, 1000 * 2 ** Math.min(Math.max(attempt, 1) - 1, 20)))
      }),
    )
  })

  it('spreads over the whole interval', () => {
    const at = (random: number) => backoffMs({ attempt: 4, baseMs: 1000, maxMs: 60_000, random })
    expect([at(0), at(0.5), at(0.999)]).toEqual([0, 4000, 7992])
  })

  it('never returns before the server asks for', () => {
    expect(backoffMs({ attempt: 1, baseMs: 1000, maxMs: 2000, random: 0.5, retryAfterMs: 30_000 })).toBe(
      30_500,
    )
  })
})

describe('Retry-After', () => {
  const now = new Date('2026-11-22T19:30:00Z')

  it.each([
    ['120', 120_000],
    ['0', 0],
    ['Sun, 22 Nov 2026 19:31:00 GMT', 60_000],
    ['Sun, 22 Nov 2026 19:00:00 GMT', 0],
  ])('%j is %d ms', (value, expected) => {
    expect(parseRetryAfterMs(value, now)).toBe(expected)
  })

  it.each(['', '-1', '1.5', 'soon', '2026-11-22T19:31:00Z', '99999999'])('%j is not one', (value) => {
    expect(parseRetryAfterMs(value, now)).toBeNull()
  })
})
