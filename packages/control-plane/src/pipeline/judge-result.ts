import type { JobKind, JobResult, JobResultAnswer } from '@crystal-forge/protocol'

export type JobState = 'queued' | 'leased' | 'succeeded' | 'failed' | 'cancelled'

/** The job as it stands, locked, and what is known about the attempt that a message names by its fence. */
export type HeldJob = {
  readonly id: string
  readonly kind: JobKind
  readonly subject: string
  readonly state: JobState
  readonly attempt: number
  readonly fence: number | null
  readonly builder: string | null
  /** The attempt with the message's fence, if this builder ever held it. */
  readonly named: { readonly ended: boolean; readonly answer: JobResultAnswer | null } | null
}

/** What to do with a message about a job. Every caller answers every case. */
export type Holding =
  | { readonly kind: 'held' }
  /** The same attempt has reported already: its first answer again, without effect. */
  | { readonly kind: 'repeated'; readonly answer: JobResultAnswer }
  /** The lease went to somebody else or ran out. `late`: this builder did hold it once, which is worth recording. */
  | { readonly kind: 'stale'; readonly late: boolean }

/** Whether the sender holds the job: only the newest fence does, and only in the hands of whom it was given to. */
export function judgeHolding(job: HeldJob, sender: { builder: string; fence: number }): Holding {
  if (job.state === 'leased' && job.fence === sender.fence && job.builder === sender.builder)
    return { kind: 'held' }
  if (job.named === null) return { kind: 'stale', late: false }
  if (job.named.answer !== null) return { kind: 'repeated', answer: job.named.answer }
  return { kind: 'stale', late: true }
}

/** Why a job document cannot be had now. `retryInS` only where asking again makes sense. */
export function whyNotClaimed(
  job: { readonly state: JobState; readonly attempt: number; readonly notBefore: Date } | null,
  asked: { readonly attempt: number | undefined; readonly now: Date },
): {
  readonly because: 'taken' | 'not-yet' | 'finished' | 'stale' | 'unknown'
  readonly retryInS?: number
} {
  if (job === null) return { because: 'unknown' }
  switch (job.state) {
    case 'succeeded':
    case 'failed':
    case 'cancelled':
      return { because: 'finished' }
    case 'leased':
      return { because: 'taken' }
    case 'queued': {
      if (asked.attempt !== undefined && asked.attempt !== job.attempt) return { because: 'stale' }
      const waitMs = job.notBefore.getTime() - asked.now.getTime()
      return { because: 'not-yet', retryInS: Math.max(Math.ceil(waitMs / 1000), NOT_FOR_THIS_MACHINE_S) }
    }
  }
}

/** Whether what is reported is about the kind of work that was given. A failure fits every kind. */
export function fitsKind(kind: JobKind, result: JobResult['result']): boolean {
  return result.outcome === 'failed' || result.succeeded.kind === kind
}

/** A job that is due and free but was not given is for another kind of machine, which may come for it meanwhile. */
const NOT_FOR_THIS_MACHINE_S = 5
