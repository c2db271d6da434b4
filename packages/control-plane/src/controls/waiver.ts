import { isSamePerson, type Person } from './person.ts'

/** Kept states; `expired` also follows from the clock alone, whether or not anybody wrote it down. */
export const WAIVER_STATES = [
  'draft',
  'submitted',
  'approved',
  'rejected',
  'renewed',
  'expired',
  'revoked',
] as const
export type WaiverState = (typeof WAIVER_STATES)[number]

export const WAIVER_TYPES = [
  'risk_accepted',
  'compensating_control',
  'false_positive',
  'vendor_dependency',
] as const
export type WaiverType = (typeof WAIVER_TYPES)[number]

export const WAIVER_ACTIONS = ['submit', 'approve', 'reject', 'revoke', 'expire', 'renew'] as const
export type WaiverAction = (typeof WAIVER_ACTIONS)[number]

/** Which hosts it is about: all, those of an environment, some by name, or those that follow a configuration. */
export type WaiverScope =
  | { readonly kind: 'fleet' }
  | { readonly kind: 'environment'; readonly environment: string }
  | { readonly kind: 'hosts'; readonly hosts: readonly string[] }
  | { readonly kind: 'configuration'; readonly flake: string; readonly configuration: string }

/** What the join needs of an approved waiver. */
export type WaiverInForce = {
  readonly id: string
  readonly rules: readonly string[]
  readonly expiresAt: Date
}

export type WaiverFacts = {
  readonly state: WaiverState
  readonly author: Person
  /** Who submitted it: not always its author, and no judge of it either. */
  readonly submitter: Person | null
  readonly expiresAt: Date
  readonly type: WaiverType | null
}

export type WaiverStep =
  | { readonly ok: true; readonly state: WaiverState }
  | {
      readonly ok: false
      readonly because: 'wrong_state' | 'own_waiver' | 'expired' | 'too_long' | 'incomplete' | 'not_expired'
      readonly detail: string
    }

/** Whether a step may be taken, and where it leads. Pure; the one who stores it checks the state again in the same statement. */
export function stepWaiver(waiver: WaiverFacts, action: WaiverAction, actor: Person, now: Date): WaiverStep {
  if (!FROM[action].includes(waiver.state))
    return no(
      'wrong_state',
      `it is ${waiver.state}; only one that is ${FROM[action].join(' or ')} can ${VERB[action]}`,
    )
  const over = waiver.expiresAt <= now
  switch (action) {
    case 'submit':
    case 'approve':
      if (over) return no('expired', `it expires at ${waiver.expiresAt.toISOString()}, which is past`)
      if (waiver.expiresAt.getTime() > now.getTime() + LONGEST_MS)
        return no(
          'too_long',
          `it expires at ${waiver.expiresAt.toISOString()}; at most 365 days are approved`,
        )
      if (waiver.type === null)
        return no(
          'incomplete',
          'it names no type: risk_accepted, compensating_control, false_positive or vendor_dependency',
        )
      if (action === 'submit') return { ok: true, state: 'submitted' }
      if ([waiver.author, waiver.submitter].some((one) => one !== null && isSamePerson(one, actor)))
        return no(
          'own_waiver',
          `${actor.name} (${actor.subject ?? 'nobody knows who'}) wrote or submitted it; somebody else approves it, with a token whose subject says so`,
        )
      return { ok: true, state: 'approved' }
    case 'reject':
      return { ok: true, state: 'rejected' }
    case 'revoke':
      return { ok: true, state: 'revoked' }
    case 'expire':
      return over ? { ok: true, state: 'expired' } : no('not_expired', 'its time has not come')
    case 'renew':
      return { ok: true, state: 'renewed' }
  }
}

/** What a waiver is called at a time: an approved one whose time is over is expired, whatever is written down. */
export function standingOf(state: WaiverState, expiresAt: Date, now: Date): WaiverState {
  return state === 'approved' && expiresAt <= now ? 'expired' : state
}

export function covers(
  scope: WaiverScope,
  host: {
    readonly hostname: string
    readonly environment: string | null
    readonly flake: string | null
    readonly configuration: string | null
  },
): boolean {
  switch (scope.kind) {
    case 'fleet':
      return true
    case 'environment':
      return scope.environment === host.environment
    case 'hosts':
      return scope.hosts.includes(host.hostname)
    case 'configuration':
      return scope.flake === host.flake && scope.configuration === host.configuration
  }
}

function no(because: Exclude<WaiverStep, { ok: true }>['because'], detail: string): WaiverStep {
  return { ok: false, because, detail }
}

const FROM: Readonly<Record<WaiverAction, readonly WaiverState[]>> = {
  submit: ['draft'],
  approve: ['submitted'],
  reject: ['submitted'],
  revoke: ['draft', 'submitted', 'approved'],
  expire: ['approved'],
  renew: ['approved', 'expired'],
}
const VERB: Readonly<Record<WaiverAction, string>> = {
  submit: 'be submitted',
  approve: 'be approved',
  reject: 'be rejected',
  revoke: 'be revoked',
  expire: 'expire',
  renew: 'be renewed',
}
const LONGEST_MS = 365 * 86_400_000
