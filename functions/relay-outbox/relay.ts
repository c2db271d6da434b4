import type { Queue } from '@crystal-forge/aws'
import {
  type connect,
  type Database,
  hintsSent,
  inTransaction,
  type OutboxRow,
  takeHints,
  tenantsWithHints,
} from '@crystal-forge/postgres'
import { JOB_KINDS, type JobKind } from '@crystal-forge/protocol'
import type { Log } from '../log.ts'

export type Relayed = { readonly sent: number; readonly refused: number }

export type Relay = {
  readonly database: ReturnType<typeof connect>
  readonly queues: Readonly<Record<JobKind, Pick<Queue, 'send'>>>
  readonly log: Log
}

/**
 * Sends what is due and forgets it afterwards: when it breaks off in between, the message is sent again, and a hint
 * that comes twice changes nothing. A message that the queue refuses stays for the next time.
 */
export async function relayOutbox(relay: Relay): Promise<Relayed> {
  const total = { sent: 0, refused: 0 }
  for (const tenant of await tenantsWithHints(relay.database)) {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const done = await inTransaction(relay.database, { tenant }, (transaction) =>
        relayBatch(transaction, relay),
      )
      total.sent += done.sent
      total.refused += done.refused
      if (done.sent + done.refused < BATCH || done.refused > 0) break
    }
  }
  return total
}

async function relayBatch(transaction: Database, { queues, log }: Relay): Promise<Relayed> {
  const hints = await takeHints(transaction, BATCH)
  const sent: number[] = []
  for (const kind of JOB_KINDS) {
    const mine = hints.filter((hint) => hint.queue === kind)
    if (mine.length === 0) continue
    const refused = await sendAll(queues[kind], mine)
    for (const { code, message } of refused.values())
      log('warn', 'the queue refused a hint', { kind, code, why: message })
    sent.push(...mine.filter((_, index) => !refused.has(index)).map(({ id }) => id))
  }
  if (sent.length > 0) await hintsSent(transaction, sent)
  return { sent: sent.length, refused: hints.length - sent.length }
}

async function sendAll(
  queue: Pick<Queue, 'send'>,
  hints: readonly OutboxRow[],
): Promise<Map<number, { code: string; message: string }>> {
  const notSent = await queue.send(hints.map(({ body }) => ({ body: JSON.stringify(body) })))
  return new Map(notSent.map((one) => [one.index, one]))
}

/** Metrics, which cost by the name: what an alarm reads. The dashboard asks the log for the rest of the line. */
export const COUNTED = ['refused'] as const satisfies readonly (keyof Relayed)[]

/** Ten requests of SQS; the rows stay locked that long. */
const BATCH = 100
/** One tenant's flood waits for the next run, so that the others have their turn. */
const ROUNDS_MAX = 20
