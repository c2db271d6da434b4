import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type AgentReport, agentReport, reportAnswer } from './agent.ts'
import { hostname, instant, reportId } from './primitives.ts'
import { problem } from './problem.ts'
import {
  isHostname,
  isReportId,
  looksLikeReport,
  readControlFactsAnswer,
  readProblem,
  readReportAnswer,
} from './read-answers.ts'

const TIMES = [
  '2026-11-22T19:30:00.000Z',
  '2026-11-22T19:30:00+01:00',
  '2026-11-22T19:30Z',
  '2026-11-22T19:30:00',
  '2026-02-29T00:00:00Z',
  '2024-02-29T00:00:00Z',
  '1900-02-29T00:00:00Z',
  '2000-02-29T00:00:00Z',
  '0000-01-01T00:00:00Z',
  '2026-04-31T00:00:00Z',
  '2026-13-01T00:00:00Z',
  '2026-00-10T00:00:00Z',
  '2026-01-00T00:00:00Z',
  '2026-01-01T24:00:00Z',
  '2026-01-01T23:60:00Z',
  '2026-01-01T23:59:60Z',
  '2026-01-01T23:59:59,5Z',
  '2026-01-01T23:59:59.Z',
  '2026-01-01T23:59:59+24:00',
  '2026-01-01 23:59:59Z',
  '2026-01-01T23:59:59z',
  ' 2026-01-01T23:59:59Z',
  '2026-01-01T23:59:59Z\n',
  '',
]

/** Values around the borders of every member, and anything at all. */
const near = (...good: unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom<unknown>(...good) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<unknown>(
        undefined,
        null,
        '',
        0,
        -1,
        1.5,
        Number.NaN,
        2 ** 53,
        [],
        {},
        'a\u0085b',
        true,
      ),
    },
  )
const object = (members: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 9, arbitrary: fc.record(members) },
    { weight: 2, arbitrary: fc.record({ ...members, more: fc.constant(1) }) },
    { weight: 1, arbitrary: fc.record(members, { requiredKeys: [] }) },
  )
const signature = object({
  keyid: near('k', 'k'.repeat(200), 'k'.repeat(201), undefined),
  sig: near('s', 's'.repeat(200), 's'.repeat(201)),
})
const signatures = fc.oneof(
  fc.array(signature, { maxLength: 3 }),
  fc.constantFrom<unknown>(Array(16).fill({ sig: 's' }), Array(17).fill({ sig: 's' }), {}, null),
)
const deployment = fc.oneof(
  fc.constant(null),
  object({
    payloadType: near('t', 't'.repeat(200), 't'.repeat(201)),
    payload: near('p', 'p'.repeat(1_000_001)),
    signatures,
  }),
)
const answer = object({
  next_report_in_s: near(1, 600, 86_400, 86_401),
  server_time: near(...TIMES),
  deployment,
})
const fault = object({
  type: near('t'),
  title: near('t'),
  status: near(400, 503),
  code: near('expired'),
  detail: near('words', undefined),
  server_time: near('2026-11-22T19:30:00Z', 5, undefined),
})

describe('reading without the schemas says what the schemas say', () => {
  it('of answers to reports', () => {
    fc.assert(
      fc.property(answer, (value) => {
        const parsed = reportAnswer.safeParse(value)
        expect(readReportAnswer(value)).toEqual(parsed.success ? parsed.data : null)
      }),
      { numRuns: 2000 },
    )
  })

  it('of problems', () => {
    fc.assert(
      fc.property(fault, (value) => {
        const parsed = problem.safeParse(value)
        const read = readProblem(value)
        expect(read === null).toBe(!parsed.success)
        if (read !== null && parsed.success) expect(parsed.data).toMatchObject(read)
      }),
      { numRuns: 1000 },
    )
  })

  it.each(TIMES)('of the time %j', (server_time) => {
    expect(readControlFactsAnswer({ server_time }) !== null).toBe(instant.safeParse(server_time).success)
  })

  it('of anything', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(readReportAnswer(value) === null).toBe(!reportAnswer.safeParse(value).success)
        expect(readProblem(value) === null).toBe(!problem.safeParse(value).success)
        expect(isHostname(value)).toBe(hostname.safeParse(value).success)
        expect(isReportId(value)).toBe(reportId.safeParse(value).success)
        if (agentReport.safeParse(value).success) expect(looksLikeReport(value)).toBe(true)
      }),
    )
  })

  it.each(['web-1', 'a', 'a.b-c', '-a', 'a-', 'a_b', 'a'.repeat(253), 'a'.repeat(254), 'ä', 'a\n'])(
    'of the name %j',
    (name) => {
      expect(isHostname(name)).toBe(hostname.safeParse(name).success)
    },
  )

  it('of every report', () => {
    const common = {
      v: 1 as const,
      report_id: 'r'.repeat(16),
      hostname: 'web-1',
      collected_at: '2026-11-22T19:30:00Z',
    }
    const store_path = `/nix/store/${'a'.repeat(32)}-system`
    const reports: AgentReport[] = [
      { ...common, kind: 'heartbeat', state_digest: 'a'.repeat(64) },
      { ...common, kind: 'state', change_reason: 'startup', store_path },
    ]
    for (const report of reports) {
      expect(agentReport.safeParse(report).success && looksLikeReport(report)).toBe(true)
      for (const name of [
        'v',
        'kind',
        'report_id',
        'hostname',
        'state_digest',
        'store_path',
        'change_reason',
      ])
        if (name in report) expect(looksLikeReport({ ...report, [name]: undefined })).toBe(false)
    }
  })
})
