import type { Evaluated, EvaluationsRequest } from '@crystal-forge/protocol'
import * as z from 'zod'
import type { JobContext } from './job-context.ts'
import { persistently } from './persistently.ts'

export type VerdictSender = {
  /** Takes a verdict; sends what has gathered as soon as nothing is under way. */
  add(evaluated: Evaluated): Promise<void>
  /** Sends the rest. @returns why verdicts were lost, or undefined when all are recorded. */
  flush(): Promise<string | undefined>
}

/** Sends verdicts in batches that fit a message: the first at once, later ones together while one is under way. */
export function verdictSender(context: JobContext): VerdictSender {
  const waiting: Evaluated[] = []
  let sending: Promise<void> | undefined
  let lost: string | undefined
  const send = async (): Promise<void> => {
    while (waiting.length > 0 && lost === undefined) lost = await sendBatch(context, takeBatch(waiting))
    sending = undefined
  }
  return {
    async add(evaluated) {
      waiting.push(evaluated)
      sending ??= send()
    },
    async flush() {
      for (;;) {
        await sending
        if (waiting.length === 0 || lost !== undefined) break
        sending ??= send()
      }
      return lost
    },
  }
}

/** Takes from the front what one message can carry; at least one. */
function takeBatch(waiting: Evaluated[]): Evaluated[] {
  const batch: Evaluated[] = []
  let characters = 0
  for (let next = waiting[0]; next !== undefined && batch.length < BATCH_MAX; next = waiting[0]) {
    characters += JSON.stringify(next).length
    if (batch.length > 0 && characters > BATCH_CHARACTERS_MAX) break
    batch.push(next)
    waiting.shift()
  }
  return batch
}

async function sendBatch(context: JobContext, evaluations: Evaluated[]): Promise<string | undefined> {
  const { document, controlPlane, machine, lease, log } = context
  const body: EvaluationsRequest = { v: 1, fence: document.fence, evaluator: machine.nixVersion, evaluations }
  const path = `/v1/builder/jobs/${document.job}/evaluations`
  const answer = await persistently('evaluations', () => controlPlane.call(path, body, z.looseObject({})), {
    signal: lease.signal,
    log,
  })
  switch (answer.kind) {
    case 'ok':
      return undefined
    case 'refused':
      return `verdicts were refused: ${answer.code} ${answer.detail}`
    case 'unanswered':
      return `verdicts could not be sent: ${answer.why}`
  }
}

const BATCH_MAX = 50
/** Below the 1 MiB of a signed request, with room for characters that take several bytes. */
const BATCH_CHARACTERS_MAX = 400_000
