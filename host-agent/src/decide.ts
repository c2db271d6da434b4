import type { AgentReport, ReportAnswer, StateReport } from '@crystal-forge/protocol'
import { type SystemPaths, samePaths } from './collectors/system-paths.ts'

// Every rule of the agent is here, without IO, and has a row in decide.test.ts.

/** What the loop knows when it asks what to do. Times are milliseconds of a clock that never jumps. */
export type Situation = {
  readonly now: number
  /** Whether this run has made its first report. */
  readonly started: boolean
  /** Whether a link of the system changed since the last look. */
  readonly changed: boolean
  /** Whether the control plane asked for a full state. */
  readonly stateWanted: boolean
  readonly reportDueAt: number
  /** After a look that saw nothing, the next one is not before this. */
  readonly lookNotBefore: number
  readonly reportsWaiting: boolean
  readonly sendNotBefore: number
  /** When the facts of controls are to be collected; infinite while they are, and where nobody wants them. */
  readonly collectAt: number
  readonly factsWaiting: boolean
  readonly factsNotBefore: number
}
export type Occasion = 'startup' | 'change' | 'state-wanted' | 'due'
export type Step =
  | { readonly kind: 'report'; readonly occasion: Occasion }
  | { readonly kind: 'send' }
  | { readonly kind: 'collect' }
  | { readonly kind: 'send-facts' }
  | { readonly kind: 'wait'; readonly ms: number; readonly until: 'report' | 'retry' | 'look' | 'facts' }

/**
 * What to do next. Looking comes before sending, so that a long spool never hides a change; facts of controls come last, so that they never
 * hold up a report.
 */
export function decideStep(situation: Situation): Step {
  const { now, lookNotBefore, sendNotBefore } = situation
  if (situation.changed) return { kind: 'report', occasion: situation.started ? 'change' : 'startup' }
  const occasion = occasionOf(situation)
  if (occasion !== null && now >= lookNotBefore) return { kind: 'report', occasion }
  if (situation.reportsWaiting && now >= sendNotBefore) return { kind: 'send' }
  if (situation.started && now >= situation.collectAt) return { kind: 'collect' }
  const factsAt = factsDueAt(situation)
  if (now >= factsAt) return { kind: 'send-facts' }
  const wait = waitForReports(situation, occasion)
  const facts = Math.min(factsAt, situation.started ? situation.collectAt : Number.POSITIVE_INFINITY) - now
  return facts < wait.ms ? { kind: 'wait', ms: facts, until: 'facts' } : wait
}

function factsDueAt({ factsWaiting, reportsWaiting, factsNotBefore }: Situation): number {
  return factsWaiting && !reportsWaiting ? factsNotBefore : Number.POSITIVE_INFINITY
}

function waitForReports(situation: Situation, occasion: Occasion | null): Extract<Step, { kind: 'wait' }> {
  const { now, lookNotBefore, reportDueAt, sendNotBefore } = situation
  const lookAt = occasion === null ? Math.max(reportDueAt, lookNotBefore) : lookNotBefore
  if (situation.reportsWaiting && sendNotBefore <= lookAt) {
    return { kind: 'wait', ms: sendNotBefore - now, until: 'retry' }
  }
  return { kind: 'wait', ms: lookAt - now, until: lookAt === lookNotBefore ? 'look' : 'report' }
}

function occasionOf(situation: Situation): Occasion | null {
  if (!situation.started) return 'startup'
  if (situation.stateWanted) return 'state-wanted'
  return situation.now >= situation.reportDueAt ? 'due' : null
}

export type Content =
  | { readonly kind: 'state'; readonly reason: StateReport['change_reason'] }
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'nothing'; readonly because: 'already-reported' }

/**
 * What a report must say. A heartbeat stands for a state only when the control plane has that state or will get it first.
 * @param seen digest of the state as it is, and the links.
 * @param reported digest of the newest state that waits or was accepted, and the links that were reported last.
 */
export function decideContent(
  occasion: Occasion,
  seen: { readonly digest: string; readonly paths: SystemPaths },
  reported: { readonly digest: string | null; readonly paths: SystemPaths | null },
): Content {
  if (occasion === 'startup') return { kind: 'state', reason: 'startup' }
  if (reported.paths === null || !samePaths(seen.paths, reported.paths)) {
    return { kind: 'state', reason: 'config_change' }
  }
  if (occasion === 'state-wanted' || seen.digest !== reported.digest) {
    return { kind: 'state', reason: 'state_delta' }
  }
  return occasion === 'change' ? { kind: 'nothing', because: 'already-reported' } : { kind: 'heartbeat' }
}

/** What came back for a report. */
export type Reply =
  | { readonly kind: 'answer'; readonly answer: ReportAnswer }
  | {
      readonly kind: 'refusal'
      readonly status: number
      /** Of problem+json; null when something else than the control plane answered. */
      readonly code: string | null
      readonly detail: string | null
      readonly serverTime: string | null
      readonly retryAfterMs: number | null
    }
  | { readonly kind: 'unreachable'; readonly because: string }

export type Verdict =
  | { readonly kind: 'accepted'; readonly answer: ReportAnswer }
  /** The heartbeat stands for a state that the control plane does not have. */
  | { readonly kind: 'state-wanted' }
  /** The report can never be accepted. */
  | { readonly kind: 'set-aside'; readonly because: string }
  /** The report may have arrived; send it again under a new signature. */
  | { readonly kind: 'sign-again' }
  | {
      readonly kind: 'retry'
      readonly pace: 'usual' | 'slow'
      readonly because: string
      readonly floorMs: number | null
    }

/**
 * What a reply means for the report at the head of the spool. Only words of the control plane itself (a code) take a report out of the
 * spool; a proxy that answers in its place costs nothing but time.
 * @param attempt how often this report was sent in a row, this time included.
 * @param currentHostname as the host calls itself now.
 */
export function decideVerdict(
  reply: Reply,
  report: AgentReport,
  { attempt, currentHostname }: { readonly attempt: number; readonly currentHostname: string | null },
): Verdict {
  if (reply.kind === 'answer') return { kind: 'accepted', answer: reply.answer }
  if (reply.kind === 'unreachable') {
    return { kind: 'retry', pace: 'usual', because: reply.because, floorMs: null }
  }
  const { status, code } = reply
  const because = `${status} ${code ?? 'without a code'}${reply.detail === null ? '' : `: ${reply.detail}`}`
  const retry = (pace: 'usual' | 'slow'): Verdict => ({
    kind: 'retry',
    pace,
    because,
    floorMs: reply.retryAfterMs,
  })
  if (status >= 500 || status === 429 || status === 408 || status === 425) return retry('usual')
  if (code === null) return retry('slow')
  if (code === 'clock_skew' || code === 'expired') return retry('usual')
  if (code === 'state_required') return report.kind === 'heartbeat' ? { kind: 'state-wanted' } : retry('slow')
  if (status === 409)
    return attempt < SIGNATURES_MAX ? { kind: 'sign-again' } : { kind: 'set-aside', because }
  if (code === 'identity_mismatch' && report.hostname !== currentHostname)
    return { kind: 'set-aside', because }
  if ((status === 400 || status === 413 || status === 422) && !ABOUT_THE_WAY.has(code)) {
    return { kind: 'set-aside', because }
  }
  return retry('slow')
}

export type FactsVerdict =
  | { readonly kind: 'accepted' }
  /** The control plane has no such route: an earlier version. Facts are not collected again before a switch or a restart. */
  | { readonly kind: 'unwanted' }
  | Extract<Verdict, { kind: 'set-aside' | 'sign-again' | 'retry' }>

/** What a reply means for the oldest facts; as for reports, only words of the control plane itself take them out of the spool. */
export function decideFactsVerdict(reply: FactsReply, attempt: number): FactsVerdict {
  if (reply.kind === 'success') return { kind: 'accepted' }
  if (reply.kind === 'unreachable')
    return { kind: 'retry', pace: 'usual', because: reply.because, floorMs: null }
  const { status, code } = reply
  const because = `${status} ${code ?? 'without a code'}${reply.detail === null ? '' : `: ${reply.detail}`}`
  const retry = { kind: 'retry' as const, pace: 'slow' as const, because, floorMs: reply.retryAfterMs }
  if (
    status >= 500 ||
    code === null ||
    code === 'clock_skew' ||
    code === 'expired' ||
    ABOUT_THE_WAY.has(code)
  )
    return retry
  if (code === 'no_route') return { kind: 'unwanted' }
  if (status === 409 && attempt < SIGNATURES_MAX) return { kind: 'sign-again' }
  if ([400, 409, 413, 422].includes(status) || code === 'identity_mismatch')
    return { kind: 'set-aside', because }
  return retry
}
export type FactsReply = Exclude<Reply, { kind: 'answer' }> | { readonly kind: 'success' }

/** Whether a verdict needs a person: the control plane does not take this host. */
export function needsAttention(reply: Reply): boolean {
  return (
    reply.kind === 'refusal' &&
    (reply.status === 401 || reply.status === 403) &&
    reply.code !== null &&
    reply.code !== 'clock_skew'
  )
}

/** Milliseconds until the next report: what the control plane asks, within reason, a tenth earlier or later. */
export function nextReportMs(seconds: number, random: number): number {
  const bounded = Math.min(Math.max(seconds, REPORT_SECONDS_MIN), REPORT_SECONDS_MAX)
  return Math.round(bounded * 1000 * (0.9 + 0.2 * random))
}

/** These 400s say that the request was altered on its way or sent to the wrong place; the report is sound. */
const ABOUT_THE_WAY: ReadonlySet<string> = new Set([
  'bad_target',
  'digest_mismatch',
  'duplicate_header',
  'weak_key',
])
const SIGNATURES_MAX = 5
const REPORT_SECONDS_MIN = 5
const REPORT_SECONDS_MAX = 3600
