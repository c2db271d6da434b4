import { expect, test } from 'vitest'
import { type WaitingCode, type WaitingFacts, whyWaiting } from './why-waiting.ts'

const now = new Date('2026-11-22T12:00:00Z')
const secondsLater = (seconds: number): Date => new Date(now.getTime() + seconds * 1000)
const builder = { name: 'b-1', active: true, lastSeenAt: now, platforms: ['x86_64-linux'], jobs: 0 }
const job: WaitingFacts['job'] = {
  kind: 'build',
  state: 'queued',
  attempt: 1,
  notBefore: now,
  createdAt: now,
  leaseUntil: null,
  builder: null,
  platform: 'x86_64-linux',
  failureMessage: null,
}
const facts = (
  more: Partial<Omit<WaitingFacts, 'job'>>,
  changes: Partial<WaitingFacts['job']> = {},
): WaitingFacts => ({
  now,
  job: { ...job, ...changes },
  unpublished: false,
  ahead: 0,
  builders: [builder],
  ...more,
})

test.each<[string, WaitingFacts, WaitingCode[], string]>([
  ['nothing', facts({}), ['ready'], 'next free builder'],
  ['no builder at all', facts({ builders: [] }), ['no_builder'], 'fleet.toml'],
  [
    'only inactive builders',
    facts({ builders: [{ ...builder, active: false }] }),
    ['no_builder'],
    'registered',
  ],
  [
    'another platform',
    facts({}, { platform: 'aarch64-linux' }),
    ['no_builder_for_platform'],
    'aarch64-linux',
  ],
  [
    'a builder that is away',
    facts({ builders: [{ ...builder, lastSeenAt: secondsLater(-121) }] }),
    ['builders_away'],
    'b-1',
  ],
  ['busy builders', facts({ builders: [{ ...builder, jobs: 2 }] }), ['builders_busy'], 'b-1 (2)'],
  [
    'one free among busy ones',
    facts({
      builders: [
        { ...builder, jobs: 2 },
        { ...builder, name: 'b-2' },
      ],
    }),
    ['ready'],
    '',
  ],
  [
    'a pause after a failure',
    facts({}, { notBefore: secondsLater(90), attempt: 2, failureMessage: 'no space\nleft' }),
    ['backoff'],
    'attempt 2 begins in 90 s after: no space',
  ],
  ['the relay', facts({ unpublished: true }), ['unpublished'], 'outbox'],
  [
    'others before it',
    facts({ ahead: 3, builders: [{ ...builder, jobs: 1 }] }),
    ['builders_busy', 'queued_behind'],
    'busy',
  ],
  [
    'a builder that works on it',
    facts({}, { state: 'leased', builder: 'b-1', leaseUntil: secondsLater(30) }),
    ['running'],
    'b-1 runs attempt 1',
  ],
  [
    'a lease that ended',
    facts({}, { state: 'leased', builder: 'b-1', leaseUntil: secondsLater(-5) }),
    ['lease_expired'],
    '5 s ago',
  ],
  ['it is over', facts({}, { state: 'failed' }), ['finished'], 'failed'],
])('a job waits for: %s', (_, given, codes, words) => {
  const reasons = whyWaiting(given)
  expect(reasons.map(({ code }) => code)).toEqual(codes)
  expect(reasons[0]?.sentence).toContain(words)
})
