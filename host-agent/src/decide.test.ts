import type { AgentReport } from '@crystal-forge/protocol'
import { describe, expect, it } from 'vitest'
import type { SystemPaths } from './collectors/system-paths.ts'
import {
  decideContent,
  decideFactsVerdict,
  decideStep,
  decideVerdict,
  needsAttention,
  nextReportMs,
  type Occasion,
  type Reply,
  type Situation,
  type Verdict,
} from './decide.ts'

const quiet: Situation = {
  now: 1000,
  started: true,
  changed: false,
  stateWanted: false,
  reportDueAt: 5000,
  lookNotBefore: 0,
  reportsWaiting: false,
  sendNotBefore: 0,
  collectAt: Number.POSITIVE_INFINITY,
  factsWaiting: false,
  factsNotBefore: 0,
}

describe('the next step', () => {
  it.each<[string, Partial<Situation>, string]>([
    ['begins with a report', { started: false }, 'report startup'],
    [
      'begins with a report even when links change already',
      { started: false, changed: true },
      'report startup',
    ],
    ['looks when a link changed', { changed: true }, 'report change'],
    ['looks before it sends', { changed: true, reportsWaiting: true }, 'report change'],
    [
      'looks at a change although the last look saw nothing',
      { changed: true, lookNotBefore: 9000 },
      'report change',
    ],
    ['makes the state that was asked for', { stateWanted: true }, 'report state-wanted'],
    ['reports when it is time', { now: 5000 }, 'report due'],
    ['sends what waits', { reportsWaiting: true }, 'send'],
    ['waits for the next report', {}, 'wait 4000 report'],
    ['waits out a backoff', { reportsWaiting: true, sendNotBefore: 3000 }, 'wait 2000 retry'],
    ['reports during a backoff', { reportsWaiting: true, sendNotBefore: 9000 }, 'wait 4000 report'],
    [
      'sends although the next look must wait',
      { now: 6000, lookNotBefore: 9000, reportsWaiting: true },
      'send',
    ],
    [
      'waits a while after a look that saw nothing',
      { started: false, lookNotBefore: 9000 },
      'wait 8000 look',
    ],
    ['collects facts when it is time', { collectAt: 1000 }, 'collect'],
    [
      'collects no facts before the first report',
      { started: false, collectAt: 0, lookNotBefore: 9000 },
      'wait 8000 look',
    ],
    ['reports before it collects', { collectAt: 0, now: 5000 }, 'report due'],
    ['sends a report before facts', { factsWaiting: true, reportsWaiting: true }, 'send'],
    ['sends facts', { factsWaiting: true }, 'send-facts'],
    [
      'holds facts back while a report cannot be delivered',
      { factsWaiting: true, reportsWaiting: true, sendNotBefore: 3000 },
      'wait 2000 retry',
    ],
    ['waits for the next look at the controls', { collectAt: 3000 }, 'wait 2000 facts'],
    ['waits out a backoff of facts', { factsWaiting: true, factsNotBefore: 2500 }, 'wait 1500 facts'],
    ['waits for the later of report and look', { lookNotBefore: 9000 }, 'wait 8000 look'],
    [
      'waits for a retry before the next look',
      { started: false, lookNotBefore: 9000, reportsWaiting: true, sendNotBefore: 2000 },
      'wait 1000 retry',
    ],
  ])('%s', (_, situation, expected) => {
    const step = decideStep({ ...quiet, ...situation })
    const words = step.kind === 'report' ? [step.occasion] : step.kind === 'wait' ? [step.ms, step.until] : []
    expect([step.kind, ...words].join(' ')).toBe(expected)
  })

  it('never waits for a negative time', () => {
    for (const now of [0, 1000, 4999, 5000, 8999, 9000, 20_000]) {
      for (const reportsWaiting of [true, false]) {
        const step = decideStep({ ...quiet, now, reportsWaiting, sendNotBefore: 9000, lookNotBefore: 8000 })
        if (step.kind === 'wait') expect(step.ms).toBeGreaterThan(0)
      }
    }
  })
})

describe('the content of a report', () => {
  const a: SystemPaths = {
    current: '/nix/store/a',
    booted: '/nix/store/a',
    profile: '/nix/store/a',
    generation: 1,
  }
  const b: SystemPaths = { ...a, current: '/nix/store/b' }
  const reported = { digest: 'one', paths: a }

  it.each<
    [
      string,
      Occasion,
      { digest: string; paths: SystemPaths },
      { digest: string | null; paths: SystemPaths | null },
      string,
    ]
  >([
    [
      'a state at start, whatever is known',
      'startup',
      { digest: 'one', paths: a },
      reported,
      'state startup',
    ],
    [
      'a state when the system changed',
      'change',
      { digest: 'two', paths: b },
      reported,
      'state config_change',
    ],
    [
      'a state when a poll finds the change',
      'due',
      { digest: 'two', paths: b },
      reported,
      'state config_change',
    ],
    [
      'a state when a new generation is the default',
      'due',
      { digest: 'two', paths: { ...a, generation: 2 } },
      reported,
      'state config_change',
    ],
    ['a state when only facts changed', 'due', { digest: 'two', paths: a }, reported, 'state state_delta'],
    [
      'a state when none is known',
      'due',
      { digest: 'one', paths: a },
      { digest: null, paths: a },
      'state state_delta',
    ],
    [
      'a state when it is asked for',
      'state-wanted',
      { digest: 'one', paths: a },
      reported,
      'state state_delta',
    ],
    [
      'a state when links were never reported',
      'due',
      { digest: 'one', paths: a },
      { digest: 'one', paths: null },
      'state config_change',
    ],
    ['a heartbeat when nothing changed', 'due', { digest: 'one', paths: a }, reported, 'heartbeat'],
    [
      'nothing when a link was swapped for itself',
      'change',
      { digest: 'one', paths: a },
      reported,
      'nothing already-reported',
    ],
  ])('is %s', (_, occasion, seen, known, expected) => {
    const content = decideContent(occasion, seen, known)
    const word =
      content.kind === 'state' ? [content.reason] : content.kind === 'nothing' ? [content.because] : []
    expect([content.kind, ...word].join(' ')).toBe(expected)
  })
})

const heartbeat: AgentReport = {
  v: 1,
  kind: 'heartbeat',
  report_id: '0123456789abcdef',
  hostname: 'web-1',
  collected_at: '2026-11-22T19:00:00Z',
  state_digest: 'a'.repeat(64),
}
const state: AgentReport = {
  v: 1,
  kind: 'state',
  report_id: '0123456789abcdef',
  hostname: 'web-1',
  collected_at: '2026-11-22T19:00:00Z',
  change_reason: 'startup',
  store_path: `/nix/store/${'a'.repeat(32)}-system`,
}

function refusal(
  status: number,
  code: string | null,
  more: Partial<Extract<Reply, { kind: 'refusal' }>> = {},
): Reply {
  return { kind: 'refusal', status, code, detail: null, serverTime: null, retryAfterMs: null, ...more }
}

function word(verdict: Verdict): string {
  return verdict.kind === 'retry' ? `retry ${verdict.pace}` : verdict.kind
}

describe('the verdict on a reply', () => {
  const first = { attempt: 1, currentHostname: 'web-1' }

  it.each<[Reply, AgentReport, string]>([
    [
      { kind: 'answer', answer: { next_report_in_s: 600, server_time: '', deployment: null } },
      state,
      'accepted',
    ],
    [{ kind: 'unreachable', because: 'refused' }, state, 'retry usual'],
    [refusal(500, 'internal'), state, 'retry usual'],
    [refusal(503, null), state, 'retry usual'],
    [refusal(429, null), state, 'retry usual'],
    [refusal(429, 'too_many'), state, 'retry usual'],
    [refusal(408, null), state, 'retry usual'],
    [refusal(409, 'state_required'), heartbeat, 'state-wanted'],
    [refusal(409, 'state_required'), state, 'retry slow'],
    [refusal(409, 'replayed'), heartbeat, 'sign-again'],
    [refusal(409, 'duplicate'), state, 'sign-again'],
    [refusal(401, 'signature_refused'), state, 'retry slow'],
    [refusal(401, 'clock_skew'), state, 'retry usual'],
    [refusal(401, 'expired'), state, 'retry usual'],
    [refusal(403, 'identity_mismatch'), state, 'retry slow'],
    [refusal(403, 'deactivated'), state, 'retry slow'],
    [refusal(400, 'invalid_body'), heartbeat, 'set-aside'],
    [refusal(413, 'body_too_large'), state, 'set-aside'],
    [refusal(422, 'anything'), state, 'set-aside'],
    // The report is sound: the way to the control plane is not.
    [refusal(400, 'digest_mismatch'), state, 'retry slow'],
    [refusal(400, 'bad_target'), state, 'retry slow'],
    [refusal(421, 'wrong_authority'), state, 'retry slow'],
    [refusal(404, 'no_route'), state, 'retry slow'],
    // Something else than the control plane answers: nothing is given up.
    [refusal(400, null), state, 'retry slow'],
    [refusal(413, null), state, 'retry slow'],
    [refusal(404, null), state, 'retry slow'],
    [refusal(301, null), state, 'retry slow'],
    [refusal(409, null), heartbeat, 'retry slow'],
  ])('%j: %#', (reply, report, expected) => {
    expect(word(decideVerdict(reply, report, first))).toBe(expected)
  })

  it('gives up a report of an earlier host name, and one that stays in conflict', () => {
    expect(
      word(decideVerdict(refusal(403, 'identity_mismatch'), state, { attempt: 1, currentHostname: 'web-2' })),
    ).toBe('set-aside')
    expect(word(decideVerdict(refusal(409, 'replayed'), state, { ...first, attempt: 5 }))).toBe('set-aside')
  })

  it('keeps what the control plane asks to wait', () => {
    expect(decideVerdict(refusal(503, null, { retryAfterMs: 7000 }), state, first)).toMatchObject({
      floorMs: 7000,
    })
  })

  it('calls for a person when the host is not taken, not when the clock is wrong or a proxy is in the way', () => {
    expect(needsAttention(refusal(401, 'signature_refused'))).toBe(true)
    expect(needsAttention(refusal(403, 'identity_mismatch'))).toBe(true)
    expect(needsAttention(refusal(401, 'clock_skew'))).toBe(false)
    expect(needsAttention(refusal(403, null))).toBe(false)
    expect(needsAttention({ kind: 'unreachable', because: '' })).toBe(false)
  })
})

describe('the time of the next report', () => {
  it.each([
    [600, 0, 540_000],
    [600, 0.5, 600_000],
    [1, 0.5, 5_000],
    [86_400, 0.5, 3_600_000],
    [86_400, 0.999999, 3_960_000],
  ])('is %i s with chance %f: %i ms', (seconds, random, ms) => {
    expect(nextReportMs(seconds, random)).toBeCloseTo(ms, -1)
  })
})

describe('the verdict on facts of controls', () => {
  const refusal = (status: number, code: string | null): Reply => ({
    kind: 'refusal',
    status,
    code,
    detail: null,
    serverTime: null,
    retryAfterMs: null,
  })
  it.each<[Exclude<Reply, { kind: 'answer' }> | { kind: 'success' }, number, string]>([
    [{ kind: 'success' }, 1, 'accepted'],
    [{ kind: 'unreachable', because: 'x' }, 1, 'retry'],
    ...(
      [
        [503, 'busy', 1, 'retry'],
        [404, null, 1, 'retry'],
        [404, 'no_route', 1, 'unwanted'],
        [401, 'signature_refused', 1, 'retry'],
        [401, 'clock_skew', 1, 'retry'],
        [400, 'digest_mismatch', 1, 'retry'],
        [400, 'invalid_body', 1, 'set-aside'],
        [413, 'body_too_large', 1, 'set-aside'],
        [403, 'identity_mismatch', 1, 'set-aside'],
        [409, 'replayed', 1, 'sign-again'],
        [409, 'replayed', 5, 'set-aside'],
      ] as const
    ).map(([status, code, attempt, kind]): [Exclude<Reply, { kind: 'answer' }>, number, string] => [
      refusal(status, code) as Exclude<Reply, { kind: 'answer' }>,
      attempt,
      kind,
    ]),
  ])('%j at attempt %i is %s', (reply, attempt, kind) => {
    expect(decideFactsVerdict(reply, attempt).kind).toBe(kind)
  })
})
