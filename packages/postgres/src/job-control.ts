import type { JobState } from '@crystal-forge/control-plane'
import type { JobKind } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'
import { enqueueJob, type JobNotes, settleSubject } from './jobs.ts'

/** What an operator's request did. */
export type JobControl =
  | { readonly kind: 'done'; readonly job: string }
  /** A builder holds it: it learns of the wish with its next heartbeat. */
  | { readonly kind: 'asked'; readonly job: string }
  | { readonly kind: 'unknown' }
  /** The state of the job does not allow it. */
  | { readonly kind: 'not-possible'; readonly state: JobState }

const LOCK = 'select id, kind, subject, state, priority, payload as notes from job where id = $1 for update'
const CANCEL_QUEUED = `
update job set state = 'cancelled', finished_at = now(), failure_class = 'cancelled', failure_message = $2 where id = $1`
const CANCEL_LEASED = `update job set payload = payload || '{"cancel": true}' where id = $1`

type Row = {
  id: string
  kind: JobKind
  subject: string
  state: JobState
  priority: number
  notes: JobNotes
}

/** Ends a queued job now, and a leased one as soon as its builder hears of it or its lease runs out. */
export async function cancelJob(transaction: Database, job: string, because: string): Promise<JobControl> {
  const row = await lock(transaction, job)
  if (row === null) return { kind: 'unknown' }
  switch (row.state) {
    case 'queued':
      await transaction.query(CANCEL_QUEUED, [job, because])
      await settleSubject(transaction, row, {
        failure: { class: 'cancelled', message: because },
        final: true,
      })
      return { kind: 'done', job }
    case 'leased':
      await transaction.query(CANCEL_LEASED, [job])
      return { kind: 'asked', job }
    case 'succeeded':
    case 'failed':
    case 'cancelled':
      return { kind: 'not-possible', state: row.state }
  }
}

const REOPEN_COMMIT = `update commit set state = 'pending', error = null where id = $1`
const REOPEN_DERIVATION = `
update derivation set state = 'pending', failure_class = null, error = null where id = $1 and state = 'failed'`

/** Queues a new job about what a failed or cancelled one was about; the old one stays as it is. */
export async function retryJob(transaction: Database, job: string): Promise<JobControl> {
  const row = await lock(transaction, job)
  if (row === null) return { kind: 'unknown' }
  switch (row.state) {
    case 'queued':
    case 'leased':
    case 'succeeded':
      return { kind: 'not-possible', state: row.state }
    case 'failed':
    case 'cancelled': {
      if (row.kind === 'evaluate') await transaction.query(REOPEN_COMMIT, [row.subject])
      if (row.kind === 'build') await transaction.query(REOPEN_DERIVATION, [row.subject])
      const { again: _, cancel: __, memory_factor: ___, ...notes } = row.notes
      const { kind, subject, priority } = row
      const { id } = await enqueueJob(transaction, { kind, subject, notes, priority })
      return { kind: 'done', job: id }
    }
  }
}

async function lock(transaction: Database, job: string): Promise<Row | null> {
  const { rows } = await transaction.query<Row>(LOCK, [job])
  return rows[0] ?? null
}
