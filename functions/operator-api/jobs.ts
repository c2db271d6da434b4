import { whyWaiting } from '@crystal-forge/control-plane'
import {
  cancelJob,
  type JobControl,
  listJobs,
  recordEvent,
  retryJob,
  showJob,
  waitingFacts,
} from '@crystal-forge/postgres'
import { JOB_KINDS, line } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import { type Context, change, type Endpoints, list, parameter, show, unknown } from '../operator-endpoint.ts'
import { filter, yesNo } from '../operator-query.ts'
import { NOTHING } from './systems.ts'

/** Work of builders: what there is, why it waits, and how to start or stop it. */
export function jobEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/jobs': list(context, JOB_FILTERS, listJobs),
    'GET /v1/jobs/{job}': show(context, 'job', showJob),
    'GET /v1/jobs/{job}/waiting': show(context, 'job', async (database, id) => {
      const facts = await waitingFacts(database, id, context.now())
      if (facts === null) return null
      const { kind, state, attempt } = facts.job
      return { job: id, kind, state, attempt, reasons: whyWaiting(facts) }
    }),
    'POST /v1/jobs/{job}/retry': change(context, NOTHING, async (transaction, { request, actor }) => {
      const id = parameter(request, 'job')
      const outcome = await retryJob(transaction, id)
      const detail = { change: 'job.retried', job: id }
      if (outcome.kind === 'done') await recordEvent(transaction, { type: 'config.changed', actor, detail })
      return answer(outcome, id, 'a job can be retried once it has failed or was cancelled')
    }),
    'POST /v1/jobs/{job}/cancel': change(
      context,
      NOTHING,
      async (transaction, { request, actor, operator }) => {
        const id = parameter(request, 'job')
        const outcome = await cancelJob(transaction, id, `cancelled by ${operator.name}`)
        const detail = { change: 'job.cancelled', job: id }
        if (outcome.kind === 'done' || outcome.kind === 'asked')
          await recordEvent(transaction, { type: 'config.changed', actor, detail })
        return answer(outcome, id, 'only a job that waits or runs can be cancelled')
      },
    ),
  }
}

function answer(outcome: JobControl, id: string, rule: string): Reply {
  switch (outcome.kind) {
    case 'done':
      return { status: 200, body: { job: outcome.job, done: true } }
    case 'asked':
      return { status: 202, body: { job: outcome.job, done: false } }
    case 'unknown':
      return unknown('job', id)
    case 'not-possible':
      return problem(409, 'job_state', `job ${id} is ${outcome.state}: ${rule}`)
  }
}

const JOB_FILTERS = {
  kind: filter(z.enum(JOB_KINDS)),
  state: filter(z.enum(['queued', 'leased', 'succeeded', 'failed', 'cancelled'])),
  builder: filter(line(64)),
  open: filter(yesNo),
}
