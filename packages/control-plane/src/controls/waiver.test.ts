import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isSamePerson, type Person } from './person.ts'
import { covers, standingOf, stepWaiver, WAIVER_ACTIONS, WAIVER_STATES, type WaiverFacts } from './waiver.ts'

const NOW = new Date('2026-11-24T12:00:00Z')
const DAY = 86_400_000
const inDays = (days: number): Date => new Date(NOW.getTime() + days * DAY)

const ADA = { subject: 'https://idp.example.com#ada', name: 'ada@example.com' }
const GRACE = { subject: 'https://idp.example.com#grace', name: 'grace@example.com' }
const CLOCK = { subject: null, name: 'the clock' }

function waiver(more: Partial<WaiverFacts> = {}): WaiverFacts {
  return {
    state: 'draft',
    author: ADA,
    submitter: null,
    expiresAt: inDays(30),
    type: 'risk_accepted',
    ...more,
  }
}

const person: fc.Arbitrary<Person> = fc.record({
  subject: fc.constantFrom(null, 'token:tok_1', 'token:tok_2', ADA.subject, GRACE.subject),
  name: fc.constantFrom('ada', 'grace'),
})

describe('a waiver', () => {
  it.each([
    ['draft', 'submit', 'submitted'],
    ['submitted', 'approve', 'approved'],
    ['submitted', 'reject', 'rejected'],
    ['approved', 'revoke', 'revoked'],
    ['approved', 'renew', 'renewed'],
    ['expired', 'renew', 'renewed'],
  ] as const)('that is %s can be told to %s and is %s', (state, action, next) => {
    expect(stepWaiver(waiver({ state }), action, GRACE, NOW)).toEqual({ ok: true, state: next })
  })

  it.each([
    ['approved by its author', waiver({ state: 'submitted' }), 'approve', ADA, 'own_waiver'],
    [
      'approved by who submitted it',
      waiver({ state: 'submitted', submitter: GRACE }),
      'approve',
      GRACE,
      'own_waiver',
    ],
    ['approved without having been submitted', waiver(), 'approve', GRACE, 'wrong_state'],
    ['approved after its time', waiver({ state: 'submitted', expiresAt: NOW }), 'approve', GRACE, 'expired'],
    ['submitted for more than 365 days', waiver({ expiresAt: inDays(365.1) }), 'submit', ADA, 'too_long'],
    ['submitted without a type', waiver({ type: null }), 'submit', ADA, 'incomplete'],
    ['expired before its time', waiver({ state: 'approved' }), 'expire', CLOCK, 'not_expired'],
    ['approved again after a revocation', waiver({ state: 'revoked' }), 'approve', GRACE, 'wrong_state'],
  ] as const)('is not %s', (_, facts, action, actor, because) => {
    expect(stepWaiver(facts, action, actor, NOW)).toMatchObject({ ok: false, because })
  })

  it('is approved by nobody but a second person, in time, for at most a year, whatever the steps are', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...WAIVER_STATES),
        fc.constantFrom(...WAIVER_ACTIONS),
        person,
        person,
        person,
        fc.double({ min: -400, max: 800, noNaN: true }),
        (state, action, author, submitter, actor, days) => {
          const facts = waiver({ state, author, submitter, expiresAt: inDays(days) })
          const step = stepWaiver(facts, action, actor, NOW)
          if (!step.ok || step.state !== 'approved') return
          expect(isSamePerson(actor, author)).toBe(false)
          expect(isSamePerson(actor, submitter)).toBe(false)
          expect(days).toBeGreaterThan(0)
          expect(days).toBeLessThanOrEqual(365)
        },
      ),
    )
  })

  it('is expired when its time is over, whether or not anybody wrote it down', () => {
    expect(standingOf('approved', NOW, NOW)).toBe('expired')
    expect(standingOf('approved', inDays(1), NOW)).toBe('approved')
    expect(standingOf('revoked', NOW, NOW)).toBe('revoked')
  })

  it('covers the hosts of its scope', () => {
    const host = { hostname: 'web-1', environment: 'production', flake: 'fleet', configuration: 'web' }
    expect(covers({ kind: 'fleet' }, host)).toBe(true)
    expect(covers({ kind: 'environment', environment: 'production' }, host)).toBe(true)
    expect(covers({ kind: 'environment', environment: 'lab' }, host)).toBe(false)
    expect(covers({ kind: 'hosts', hosts: ['web-2'] }, host)).toBe(false)
    expect(covers({ kind: 'configuration', flake: 'fleet', configuration: 'web' }, host)).toBe(true)
    expect(covers({ kind: 'configuration', flake: 'other', configuration: 'web' }, host)).toBe(false)
  })
})
