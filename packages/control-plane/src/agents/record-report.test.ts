import { expect, test } from 'vitest'
import { newId } from '../new-id.ts'
import { answerReport } from './answer-report.ts'
import { collectedAt } from './record-report.ts'

const RECEIVED = new Date('2026-11-22T19:30:00.000Z')

test.each([
  ['2026-11-22T19:29:00Z', '2026-11-22T19:29:00.000Z'],
  ['2026-11-22T20:29:00+01:00', '2026-11-22T19:29:00.000Z'],
  ['2099-01-01T00:00:00Z', '2026-11-22T19:30:00.000Z'],
  ['0000-01-01T00:00:00Z', '1970-01-01T00:00:00.000Z'],
  ['never', '2026-11-22T19:30:00.000Z'],
])('a report collected at %s counts from %s', (claimed, expected) => {
  expect(collectedAt(claimed, RECEIVED).toISOString()).toBe(expected)
})

test('an id sorts by its time and has the shape that the database gives', () => {
  const earlier = newId('sta', RECEIVED, () => 'ffffffff-ffff-4fff-bfff-ffffffffffff')
  const later = newId('sta', new Date(RECEIVED.getTime() + 1), () => '00000000-0000-4000-8000-000000000000')
  expect(earlier < later).toBe(true)
  expect(earlier).toMatch(/^sta_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/)
})

test('the answer follows from the first arrival and the configuration alone', () => {
  expect(answerReport({ receivedAt: RECEIVED }, { nextReportInS: 30 })).toEqual({
    next_report_in_s: 30,
    server_time: '2026-11-22T19:30:00.000Z',
    deployment: null,
  })
})
