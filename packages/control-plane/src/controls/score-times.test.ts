import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SCORE_TIMES_MAX, scoreTimes } from './score-times.ts'

const DAY = 86_400
const at = (text: string): Date => new Date(`${text}Z`)

it.each([
  ['whole steps', '2026-11-01T00:00', '2026-11-03T00:00', ['01T00', '02T00', '03T00']],
  ['no whole step', '2026-11-01T00:00', '2026-11-02T06:00', ['01T00', '02T00', '02T06']],
  ['less than one step', '2026-11-01T00:00', '2026-11-01T06:00', ['01T00', '01T06']],
  ['no time at all', '2026-11-01T00:00', '2026-11-01T00:00', ['01T00']],
])('%s end at the last time', (_, from, to, days) => {
  const points = scoreTimes(at(`${from}:00`), at(`${to}:00`), DAY)
  expect(points.ok && points.times.map((time) => time.toISOString().slice(8, 13))).toEqual(days)
})

it('says what is too much, and what is not', () => {
  const year = scoreTimes(at('2025-11-01T00:00:00'), at('2026-11-01T00:00:00'), 3600)
  expect(year).toEqual({
    ok: false,
    detail: 'step_s is 3600, which makes 8761 points; at most 1000 are computed: use at least 31600',
  })
  expect(scoreTimes(at('2025-11-01T00:00:00'), at('2026-11-01T00:00:00'), 31_600)).toMatchObject({ ok: true })
  expect(scoreTimes(at('2026-11-02T00:00:00'), at('2026-11-01T00:00:00'), DAY)).toEqual({
    ok: false,
    detail: 'from is 2026-11-02T00:00:00.000Z, which is after to (2026-11-01T00:00:00.000Z)',
  })
})

it('has both ends, goes up, and never has more points than are allowed, whatever is asked', () => {
  const times = fc.integer({ min: 0, max: 4_000_000_000_000 })
  fc.assert(
    fc.property(
      times,
      fc.integer({ min: 0, max: 400_000_000_000 }),
      fc.integer({ min: 60, max: 31_622_400 }),
      (from, span, step) => {
        const points = scoreTimes(new Date(from), new Date(from + span), step)
        if (!points.ok) {
          expect(span / 1000 / step).toBeGreaterThan(SCORE_TIMES_MAX - 3)
          return
        }
        const ms = points.times.map((time) => time.getTime())
        expect(ms.length).toBeLessThanOrEqual(SCORE_TIMES_MAX)
        expect([ms[0], ms.at(-1)]).toEqual([from, from + span])
        for (const [n, time] of ms.entries()) if (n > 0) expect(time).toBeGreaterThan(ms[n - 1] ?? 0)
      },
    ),
  )
})
