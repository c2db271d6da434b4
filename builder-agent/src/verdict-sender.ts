import type { Evaluated, EvaluationsRequest } from '@crystal-forge/protocol'
import * as z from 'zod'
import { failed } from './failed.ts'
import type { JobContext } from './job-context.ts'
import { persistently } from './persistently.ts'

export type VerdictSender = {
  /** Takes a verdict; sends what has gathered as soon as nothing is under way. */
  add(evaluated: Evaluated): void
  /** Sends the rest. @returns why verdicts were lost, or undefined when all are recorded. */
  flush(): Promise<string | undefined>
}

type Context = Pick<JobContext, 'document' | 'controlPlane' | 'log'> & {
  readonly machine: Pick<JobContext['machine'], 'nixVersion'>
  readonly lease: Pick<JobContext['lease'], 'signal'>
}

/** Sends verdicts in batches that fit a message: the first at once, later ones together while one is under way. */
export function verdictSender(context: Context): VerdictSender {
  const waiting: Evaluated[] = []
  let sending: Promise<void> | undefined
  let lost: string | undefined
  const send = async (): Promise<void> => {
    while (waiting.length > 0 && lost === undefined) lost = await sendBatch(context, takeBatch(waiting))
    sending = undefined
  }
  return {
    add(evaluated) {
      waiting.push(evaluated)
      sending ??= send()
    },
    async flush() {
      while (waiting.length > 0 || sending !== undefined) {
        sending ??= send()
        await sending
        if (lost !== undefined) break
      }
      return lost
    },
  }
}

/** Takes from the front what one message can carry; at least one. */
function takeBatch(waiting: Evaluated[]): Evaluated[] {
  const batch: Evaluated[] = []
  let bytes = 0
  for (let next = waiting[0]; next !== undefined && batch.length < BATCH_MAX; next = waiting[0]) {
    bytes += Buffer.byteLength(JSON.stringify(next))
    if (batch.length > 0 && bytes > BATCH_BYTES_MAX) break
    batch.push(next)
    waiting.shift()
  }
  return batch
}

/**
 * One configuration whose verdict cannot be recorded must not take the others with it: a refused batch is sent again one
 * by one, and what is refused then becomes an error of that configuration.
 */
async function sendBatch(context: Context, batch: readonly Evaluated[]): Promise<string | undefined> {
  const answer = await sendOnce(context, batch)
  switch (answer.kind) {
    case 'ok':
      return undefined
    case 'unanswered':
      return `verdicts could not be sent: ${answer.why}`
    case 'refused': {
      const why = `${answer.code} ${answer.detail}`
      const [only] = batch
      if (!UNREADABLE.has(answer.status)) return `verdicts were refused: ${why}`
      if (batch.length > 1) return oneByOne(context, batch)
      if (only === undefined || only.state === 'error') return `a verdict was refused: ${why}`
      context.log.warn({ configuration: only.configuration, why }, 'a verdict could not be recorded')
      return sendBatch(context, [unrecordable(only, why)])
    }
  }
}

async function oneByOne(context: Context, batch: readonly Evaluated[]): Promise<string | undefined> {
  for (const evaluated of batch) {
    const lost = await sendBatch(context, [evaluated])
    if (lost !== undefined) return lost
  }
  return undefined
}

function unrecordable({ configuration, duration_ms }: Evaluated, why: string): Evaluated {
  const told = failed('eval', `what it evaluates to cannot be recorded: ${why}`)
  const message = told.outcome === 'failed' ? told.message : ''
  return { state: 'error', configuration, class: 'eval', message, duration_ms }
}

function sendOnce(
  { document, controlPlane, machine, lease, log }: Context,
  batch: readonly Evaluated[],
): ReturnType<typeof persistently<unknown>> {
  const body: EvaluationsRequest = {
    v: 1,
    fence: document.fence,
    evaluator: machine.nixVersion,
    evaluations: [...batch],
  }
  const path = `/v1/builder/jobs/${document.job}/evaluations`
  return persistently('evaluations', () => controlPlane.call(path, body, z.looseObject({}), lease.signal), {
    signal: lease.signal,
    log,
  })
}

const BATCH_MAX = 50
/** Below the 1 MiB of a signed request. */
const BATCH_BYTES_MAX = 900_000
/** Malformed, too large, or not acceptable as it is. */
const UNREADABLE: ReadonlySet<number> = new Set([400, 413, 422])
