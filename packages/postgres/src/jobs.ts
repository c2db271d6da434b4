import { type HeldJob, type JobState, retryRule } from '@crystal-forge/control-plane'
import type { FailureClass, JobHeartbeat, JobKind, JobResultAnswer } from '@crystal-forge/protocol'
import { type Actor, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'

/** What the queue keeps about a job beside its subject; everything else is read when it is claimed. */
export type JobNotes = {
  readonly memory_factor?: number
  /** Asked for again while it was leased. */
  readonly again?: boolean
  /** An operator wants it to end. */
  readonly cancel?: boolean
  readonly [more: string]: unknown
}

export type ClaimedJob = {
  readonly id: string
  readonly kind: JobKind
  readonly subject: string
  readonly attempt: number
  readonly fence: number
  readonly notes: JobNotes
}

const ENQUEUE = 'select job_id as id, fresh from enqueue_job($1, $2, $3, $4)'

/** Queues a job with its hint, or finds the open one about the same subject. `fresh` says which. */
export async function enqueueJob(
  transaction: Database,
  job: {
    readonly kind: JobKind
    readonly subject: string
    readonly notes: JobNotes
    readonly priority: number
  },
): Promise<{ readonly id: string; readonly fresh: boolean }> {
  const { rows } = await transaction.query<{ id: string; fresh: boolean }>({
    name: 'enqueue_job',
    text: ENQUEUE,
    values: [job.kind, job.subject, job.notes, job.priority],
  })
  const [row] = rows
  if (row === undefined) throw new Error(`the ${job.kind} job of ${job.subject} was not queued`)
  return row
}

/** Before everything else: nothing can be known about a branch that nobody looked at. */
export const RESOLVE_PRIORITY = 2_000_000_000_000_000

const CLAIM = `select job_id as id, kind, subject, attempt, fence, payload as notes
from claim_job($1, $2, $3, $4, make_interval(secs => $5))`

/** Compare-and-swap: of two that claim at once, one gets the job and the other null. */
export async function claimJob(
  transaction: Database,
  claim: {
    readonly builder: string
    readonly kinds: readonly JobKind[]
    readonly job: string | undefined
    readonly attempt: number | undefined
    readonly leaseS: number
  },
): Promise<ClaimedJob | null> {
  const values = [claim.builder, claim.kinds, claim.job ?? null, claim.attempt ?? null, claim.leaseS]
  const { rows } = await transaction.query<ClaimedJob>({ name: 'claim_job', text: CLAIM, values })
  return rows[0] ?? null
}

const STANDING = 'select state, attempt, not_before as "notBefore" from job where id = $1'

/** What a claim that got nothing is told about the job it named; null when there is none. */
export async function jobStanding(
  transaction: Database,
  job: string,
): Promise<{ readonly state: JobState; readonly attempt: number; readonly notBefore: Date } | null> {
  const { rows } = await transaction.query<{ state: JobState; attempt: number; notBefore: Date }>({
    name: 'job_standing',
    text: STANDING,
    values: [job],
  })
  return rows[0] ?? null
}

const HEARTBEAT = `
update job set lease_until = now() + make_interval(secs => $4), progress = coalesce($5, progress)
where id = $1 and state = 'leased' and fence = $2 and builder_id = $3
returning coalesce((payload ->> 'cancel')::boolean, false) as cancel`

/** Extends the lease of whoever holds the fence; null when somebody else does, or nobody. */
export async function heartbeatJob(
  transaction: Database,
  beat: {
    readonly job: string
    readonly builder: string
    readonly leaseS: number
    readonly message: JobHeartbeat
  },
): Promise<{ readonly cancel: boolean } | null> {
  const { fence, progress } = beat.message
  const { rows } = await transaction.query<{ cancel: boolean }>({
    name: 'heartbeat_job',
    text: HEARTBEAT,
    values: [beat.job, fence, beat.builder, beat.leaseS, progress ?? null],
  })
  return rows[0] ?? null
}

const LOCK =
  'select id, kind, subject, state, attempt, fence, builder_id as builder, payload as notes from job where id = $1 for update'
const NAMED = `
select bool_or(outcome in ('succeeded', 'failed', 'expired')) as ended, max(answer::text)::jsonb as answer
from job_attempt where job_id = $1 and fence = $2 and builder_id = $3 having count(*) > 0`

/** The job, locked until the end of the transaction, with what is known of the attempt that a message names; null when there is none. */
export async function lockJob(
  transaction: Database,
  job: string,
  sender: { readonly builder: string; readonly fence: number },
): Promise<(HeldJob & { readonly notes: JobNotes }) | null> {
  const { rows } = await transaction.query<Omit<HeldJob, 'named'> & { notes: JobNotes }>({
    name: 'lock_job',
    text: LOCK,
    values: [job],
  })
  const [row] = rows
  if (row === undefined) return null
  const named = await transaction.query<{ ended: boolean; answer: JobResultAnswer | null }>({
    name: 'named_attempt',
    text: NAMED,
    values: [job, sender.fence, sender.builder],
  })
  return { ...row, named: named.rows[0] ?? null }
}

const FINISH = `
with done as (
  update job set state = $2, lease_until = null, finished_at = now(), failure_class = $3, failure_message = $4,
    log_tail = coalesce($5, log_tail), attestation = $6
  where id = $1 and state = 'leased'
)
select 1`

/** Ends a leased job. A `resolve` job that was asked for again meanwhile is queued anew. */
export async function finishJob(
  transaction: Database,
  job: OpenJob,
  end: {
    readonly state: 'succeeded' | 'failed' | 'cancelled'
    readonly failure?: Failure
    readonly logTail?: string | undefined
    readonly attestation?: unknown
  },
): Promise<void> {
  const { failure } = end
  await transaction.query({
    name: 'finish_job',
    text: FINISH,
    values: [
      job.id,
      end.state,
      failure?.class ?? null,
      failure?.message ?? null,
      end.logTail ?? failure?.logTail ?? null,
      end.attestation ?? null,
    ],
  })
  if (job.notes.again !== true) return
  const { again: _, cancel: __, ...notes } = job.notes
  await enqueueJob(transaction, {
    kind: job.kind,
    subject: job.subject,
    notes,
    priority: RESOLVE_PRIORITY,
  })
}

const END_ATTEMPT = `
update job_attempt set outcome = $3, ended_at = now(), failure_class = $4, message = $5, answer = $6
where job_id = $1 and fence = $2 and outcome = 'running'`

/** Closes the attempt that holds the job. */
export async function endAttempt(
  transaction: Database,
  job: Pick<OpenJob, 'id' | 'fence'>,
  end: {
    readonly outcome: 'succeeded' | 'failed' | 'expired'
    readonly failure?: Failure
    readonly answer?: JobResultAnswer
  },
): Promise<void> {
  const { outcome, failure, answer } = end
  const values = [
    job.id,
    job.fence,
    outcome,
    failure?.class ?? null,
    failure?.message ?? null,
    answer ?? null,
  ]
  await transaction.query({ name: 'end_attempt', text: END_ATTEMPT, values })
}

/** A leased job whose row this transaction has locked. */
export type OpenJob = {
  readonly id: string
  readonly kind: JobKind
  readonly subject: string
  readonly attempt: number
  readonly fence: number | null
  readonly notes: JobNotes
}

export type Failure = {
  readonly class: FailureClass
  readonly message: string
  readonly logTail?: string | undefined
}

const EARLIER =
  'select count(*) as failed from job_attempt where job_id = $1 and failure_class = $2 and fence <> $3'
const REQUEUE = 'select requeue_job($1, $2, $3, $4, make_interval(secs => $5), $6)'

/**
 * What a failed or expired attempt changes, by `retryRule`: the job is queued again or ends, its subject follows, the
 * attempt is closed with the answer. The caller holds the row's lock.
 */
export async function failAttempt(
  transaction: Database,
  job: OpenJob,
  failed: { readonly failure: Failure; readonly outcome: 'failed' | 'expired'; readonly actor: Actor },
): Promise<JobResultAnswer> {
  const failure = { ...failed.failure, class: classOf(job, failed.failure.class) }
  const { rows } = await transaction.query<{ failed: number }>({
    name: 'earlier_failures',
    text: EARLIER,
    values: [job.id, failure.class, job.fence],
  })
  const after = retryRule(failure.class, (rows[0]?.failed ?? 0) + 1)
  if (after.kind === 'retry') {
    const more = after.memoryFactor === undefined ? {} : { memory_factor: after.memoryFactor }
    const values = [job.id, failure.class, failure.message, failure.logTail ?? null, after.pauseS, more]
    await transaction.query({ name: 'requeue_job', text: REQUEUE, values })
  } else {
    const state = failure.class === 'cancelled' ? 'cancelled' : 'failed'
    await finishJob(transaction, job, { state, failure })
    await recordEvent(transaction, {
      type: 'job.failed',
      actor: failed.actor,
      detail: {
        job: job.id,
        kind: job.kind,
        subject: job.subject,
        attempt: job.attempt,
        class: failure.class,
      },
    })
  }
  await settleSubject(transaction, job, { failure, final: after.kind === 'verdict' })
  const answer: JobResultAnswer =
    after.kind === 'retry'
      ? { recorded: true, next: 'retry', retry_in_s: after.pauseS }
      : { recorded: true, next: 'verdict' }
  // Nobody was told about an expiry, so a result that comes later is late, not repeated.
  const told = failed.outcome === 'failed' ? { answer } : {}
  await endAttempt(transaction, job, { outcome: failed.outcome, failure, ...told })
  return answer
}

/** Ends a job that was just claimed and turned out to have nothing to do. */
export async function endMootJob(transaction: Database, job: ClaimedJob): Promise<void> {
  const failure: Failure = { class: 'cancelled', message: MOOT }
  await finishJob(transaction, job, { state: 'cancelled', failure })
  await settleSubject(transaction, job, { failure, final: true })
  await endAttempt(transaction, job, { outcome: 'failed', failure })
}

const MOOT = 'nothing is left to do: the flake is inactive, or the work is done'

/** Only an operator cancels: a builder that gave up by itself leaves the job to another one. */
function classOf(job: OpenJob, reported: FailureClass): FailureClass {
  if (job.notes.cancel === true) return 'cancelled'
  return reported === 'cancelled' ? 'infra' : reported
}

const FLAKE_FAILED = 'update flake set last_error = $2 where id = $1'
const COMMIT_FAILED = 'update commit set state = $2, error = $3 where id = $1'
const DERIVATION_FAILED = `
update derivation set state = $2, failure_class = $3, error = $4 where id = $1 and state not in ('built', 'cached')`
const SCAN_FAILED = `
with put as (
  insert into scan (tenant_id, derivation_id, out_path, job_id, outcome, message)
  select tenant_id, id, out_path, $2, 'failed', $3 from derivation where id = $1
)
update derivation set scan_state = 'failed' where id = $1 and scan_state <> 'scanned'`

/** The subject of a job that failed: waiting for the next attempt, or failed with the reason. */
export async function settleSubject(
  transaction: Database,
  job: Pick<OpenJob, 'id' | 'kind' | 'subject'>,
  failed: { readonly failure: Failure; readonly final: boolean },
): Promise<void> {
  const { failure, final } = failed
  switch (job.kind) {
    case 'resolve':
      await transaction.query(FLAKE_FAILED, [job.subject, failure.message])
      return
    case 'evaluate': {
      const values = final ? [job.subject, 'failed', failure.message] : [job.subject, 'pending', null]
      await transaction.query(COMMIT_FAILED, values)
      return
    }
    case 'build': {
      const values = final ? ['failed', failure.class, failure.message] : ['pending', null, null]
      await transaction.query(DERIVATION_FAILED, [job.subject, ...values])
      return
    }
    case 'scan':
      if (final) await transaction.query(SCAN_FAILED, [job.subject, job.id, failure.message])
      return
  }
}
