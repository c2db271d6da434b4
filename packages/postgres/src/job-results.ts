import {
  type BuilderPrincipal,
  checkBuild,
  fitsKind,
  type HeldJob,
  judgeHolding,
} from '@crystal-forge/control-plane'
import type {
  EvaluationsRequest,
  JobKind,
  JobResult,
  JobResultAnswer,
  Succeeded,
} from '@crystal-forge/protocol'
import { type Actor, recordEvent } from './audit-events.ts'
import { commitEvaluated, recordResolved, transientFailures } from './commits.ts'
import type { Database } from './connect.ts'
import { expectedBuild, recordBuild, recordScan } from './derivations.ts'
import { type RecordedEvaluations, recordEvaluations } from './evaluations.ts'
import { endAttempt, failAttempt, finishJob, type JobNotes, lockJob } from './jobs.ts'

/** What became of a message about a job. Only `recorded` and `mismatch` changed anything but the record of late results. */
export type RecordedResult =
  | { readonly kind: 'recorded'; readonly answer: JobResultAnswer }
  | { readonly kind: 'unknown-job' }
  | { readonly kind: 'stale' }
  | { readonly kind: 'wrong-kind'; readonly expected: JobKind }
  | { readonly kind: 'refused'; readonly because: string }
  /** The build is not the one that was evaluated: recorded as its verdict. */
  | { readonly kind: 'mismatch'; readonly because: string }

type Report = { readonly job: string; readonly builder: BuilderPrincipal; readonly message: JobResult }
type Locked = HeldJob & { readonly notes: JobNotes }

/** Takes a result from whoever holds the job's fence; the same result again gets its first answer. */
export async function recordResult(transaction: Database, report: Report): Promise<RecordedResult> {
  const { builder, message } = report
  const sender = { builder: builder.builder, fence: message.fence }
  const job = await lockJob(transaction, report.job, sender)
  if (job === null) return { kind: 'unknown-job' }
  const holding = judgeHolding(job, sender)
  switch (holding.kind) {
    case 'repeated':
      return { kind: 'recorded', answer: holding.answer }
    case 'stale':
      if (holding.late) await recordLate(transaction, job, report)
      return { kind: 'stale' }
    case 'held':
      if (!fitsKind(job.kind, message.result)) return { kind: 'wrong-kind', expected: job.kind }
      return takeResult(transaction, job, report)
  }
}

/** Takes a batch of an `evaluate` job that is still running, under the same fence. */
export async function recordEvaluationBatch(
  transaction: Database,
  batch: { readonly job: string; readonly builder: BuilderPrincipal; readonly message: EvaluationsRequest },
): Promise<
  | { readonly kind: 'recorded'; readonly counts: RecordedEvaluations }
  | Extract<RecordedResult, { kind: 'unknown-job' | 'stale' | 'wrong-kind' }>
> {
  const { builder, message } = batch
  const sender = { builder: builder.builder, fence: message.fence }
  const job = await lockJob(transaction, batch.job, sender)
  if (job === null) return { kind: 'unknown-job' }
  if (judgeHolding(job, sender).kind !== 'held') return { kind: 'stale' }
  if (job.kind !== 'evaluate') return { kind: 'wrong-kind', expected: job.kind }
  const { evaluator, evaluations } = message
  const counts = await recordEvaluations(transaction, {
    commit: job.subject,
    evaluator,
    evaluations,
    actor: actorOf(builder),
  })
  return { kind: 'recorded', counts }
}

async function takeResult(transaction: Database, job: Locked, report: Report): Promise<RecordedResult> {
  const { result } = report.message
  const actor = actorOf(report.builder)
  if (result.outcome === 'failed') {
    const failure = { class: result.class, message: result.message, logTail: result.log_tail }
    const answer = await failAttempt(transaction, job, { failure, outcome: 'failed', actor })
    return { kind: 'recorded', answer }
  }
  const { succeeded } = result
  switch (succeeded.kind) {
    case 'resolve':
      await recordResolved(transaction, { flake: job.subject, found: succeeded, actor })
      return done(transaction, job, report)
    case 'evaluate':
      return takeEvaluated(transaction, job, report)
    case 'build':
      return takeBuild(transaction, job, report, succeeded)
    case 'scan':
      await recordScan(transaction, { derivation: job.subject, job: job.id, result: succeeded, actor })
      return done(transaction, job, report)
  }
}

/** Configurations that failed because of the machine get another attempt of the whole commit, by the rule. */
async function takeEvaluated(transaction: Database, job: Locked, report: Report): Promise<RecordedResult> {
  const failures = await transientFailures(transaction, job.subject)
  if (failures !== null) {
    const message = `${failures.count} configurations could not be evaluated (${failures.class})`
    const answer = await failAttempt(transaction, job, {
      failure: { class: failures.class, message },
      outcome: 'failed',
      actor: actorOf(report.builder),
    })
    if (answer.next === 'retry') return { kind: 'recorded', answer }
    // Each of them carries its own error; the others have their verdicts, so the commit is evaluated.
    await commitEvaluated(transaction, job.subject)
    return { kind: 'recorded', answer }
  }
  await commitEvaluated(transaction, job.subject)
  return done(transaction, job, report)
}

async function takeBuild(
  transaction: Database,
  job: Locked,
  report: Report,
  result: Extract<Succeeded, { kind: 'build' }>,
): Promise<RecordedResult> {
  const { builder } = report
  const expected = await expectedBuild(transaction, job.subject)
  const checked = checkBuild(result, { ...expected, job: job.id }, builder)
  switch (checked.kind) {
    case 'refused':
      return checked
    case 'mismatch': {
      const failure = { class: 'hash_mismatch', message: checked.because } as const
      await failAttempt(transaction, job, { failure, outcome: 'failed', actor: actorOf(builder) })
      return checked
    }
    case 'good':
      await recordBuild(transaction, {
        derivation: job.subject,
        job: job.id,
        expected,
        result,
        statement: checked.statement,
        actor: actorOf(builder),
      })
      return done(transaction, job, report, result.attestation)
  }
}

async function done(
  transaction: Database,
  job: Locked,
  report: Report,
  attestation?: unknown,
): Promise<RecordedResult> {
  const answer: JobResultAnswer = { recorded: true, next: 'done' }
  await finishJob(transaction, job, {
    state: 'succeeded',
    logTail: report.message.result.log_tail,
    attestation,
  })
  await endAttempt(transaction, job, { outcome: 'succeeded', answer })
  return { kind: 'recorded', answer }
}

const LATE = `
insert into job_attempt (job_id, attempt, fence, tenant_id, builder_id, started_at, ended_at, outcome, failure_class, message)
select job_id, attempt, fence, tenant_id, builder_id, started_at, now(), 'late', $4, $5
from job_attempt where job_id = $1 and fence = $2 and builder_id = $3 and outcome <> 'late'
on conflict do nothing`

/** Once for each lost lease: a builder that sends its late result again adds nothing. */
async function recordLate(transaction: Database, job: Locked, report: Report): Promise<void> {
  const { builder, message } = report
  const { result, fence } = message
  const failed = result.outcome === 'failed' ? result : undefined
  const values = [job.id, fence, builder.builder, failed?.class ?? null, failed?.message ?? null]
  const { rowCount } = await transaction.query(LATE, values)
  if (rowCount === 0) return
  await recordEvent(transaction, {
    type: 'job.late_result',
    actor: actorOf(builder),
    detail: {
      job: job.id,
      kind: job.kind,
      subject: job.subject,
      fence,
      newest_fence: job.fence,
      outcome: result.outcome,
    },
  })
}

function actorOf(builder: BuilderPrincipal): Actor {
  return { kind: 'builder', key: builder.keyId, builder: builder.builder }
}
