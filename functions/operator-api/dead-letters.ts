import { type Queue, queue, type ReceivedMessage, sqsClient } from '@crystal-forge/aws'
import { type JobStanding, jobStandings, recordEvent } from '@crystal-forge/postgres'
import { JOB_KINDS, type JobHint, type JobKind, jobHint, parseStrictJson } from '@crystal-forge/protocol'
import * as z from 'zod'
import type { DeadLetterQueues } from '../dead-letter-queues.ts'
import { problem, type Reply } from '../http-api.ts'
import type { Operator } from '../operator.ts'
import { readBody } from '../operator-body.ts'
import { actorOf, type Context, type Endpoints, inTenant } from '../operator-endpoint.ts'
import { filter, readQuery } from '../operator-query.ts'

/**
 * Hints that nobody could deal with. The queues are shared by all tenants, so a message is shown and moved only by the
 * tenant whose job it names; of the others there is a number and nothing else. A message that is no hint has no owner:
 * its content stays hidden, and any operator may throw it away.
 */
export function deadLetterEndpoints(
  context: Context,
  settings: DeadLetterQueues | undefined,
): { readonly endpoints: Endpoints; close(): void } {
  const client = settings === undefined ? undefined : sqsClient(settings.aws)
  const lines =
    settings === undefined || client === undefined
      ? []
      : JOB_KINDS.map((kind) => ({
          kind,
          dead: queue(client, settings.dead[kind]),
          source: queue(client, settings.sources[kind]),
        }))
  return {
    endpoints: {
      'GET /v1/dlq': async ({ request, operator }) => {
        const query = readQuery(request.rawQuery, { queue: filter(z.enum(JOB_KINDS)) })
        if (!query.ok) return query.reply
        if (client === undefined) return NO_QUEUES
        return show(context, operator, chosen(lines, query.filter.queue))
      },
      'POST /v1/dlq/retry': async ({ request, operator }) => {
        const query = readQuery(request.rawQuery, {})
        if (!query.ok) return query.reply
        const body = readBody(request.body, RETRY)
        if (!body.ok) return body.reply
        if (client === undefined) return NO_QUEUES
        return retry(context, operator, { lines: chosen(lines, body.value.queue), order: body.value })
      },
    },
    close: () => client?.destroy(),
  }
}

type Line = { readonly kind: JobKind; readonly dead: Queue; readonly source: Queue }
type Counts = Record<(typeof COUNTS)[number], number>

/** What is to be said about one message. `over`: the job does not wait for this hint any more. */
type Sorted =
  | { readonly is: 'waiting' | 'over'; readonly hint: JobHint; readonly standing: JobStanding }
  | { readonly is: 'unreadable' | 'other' }
type SortedMessage = ReceivedMessage & { readonly sorted: Sorted }

function chosen(lines: readonly Line[], only: JobKind | null): readonly Line[] {
  return lines.filter(({ kind }) => only === null || kind === only)
}

async function show(context: Context, operator: Operator, lines: readonly Line[]): Promise<Reply> {
  const shown = await Promise.all(
    lines.map(async (line) => {
      const messages = await hold(line.dead)
      const sorted = await sort(context, operator, messages)
      await giveBack(line.dead, messages)
      return { kind: line.kind, sorted }
    }),
  )
  const items = shown.flatMap(({ kind, sorted }) =>
    sorted.filter((message) => message.sorted.is !== 'other').map((message) => item(kind, message)),
  )
  const queues = shown.map(({ kind, sorted }) => ({
    queue: kind,
    messages: sorted.length,
    of_other_tenants: sorted.filter((message) => message.sorted.is === 'other').length,
  }))
  return { status: 200, body: { items, next_cursor: null, queues } }
}

function item(kind: JobKind, { id, sentAt, body, sorted }: SortedMessage): object {
  const known = sorted.is === 'waiting' || sorted.is === 'over'
  return {
    queue: kind,
    message: id,
    sent_at: sentAt.toISOString(),
    bytes: Buffer.byteLength(body),
    is: sorted.is,
    job: known ? sorted.hint.job : null,
    attempt: known ? sorted.hint.attempt : null,
    job_state: known ? sorted.standing.state : null,
  }
}

/** Not in one transaction: a function has one connection, and the queues are asked in between. */
async function retry(
  context: Context,
  operator: Operator,
  { lines, order }: { readonly lines: readonly Line[]; readonly order: z.output<typeof RETRY> },
): Promise<Reply> {
  const total: Counts = { moved: 0, dropped: 0, discarded: 0, unreadable: 0, others: 0 }
  for (const line of lines) {
    const done = await retryLine(context, operator, { line, discard: order.discard_unreadable })
    for (const key of COUNTS) total[key] += done[key]
  }
  const detail = { change: 'dead_letters.retried', queue: order.queue, ...total }
  if (total.moved + total.dropped + total.discarded > 0)
    await inTenant(context, operator, (transaction) =>
      recordEvent(transaction, { type: 'config.changed', actor: actorOf(operator), detail }),
    )
  return { status: 200, body: total }
}

async function retryLine(
  context: Context,
  operator: Operator,
  { line, discard }: { readonly line: Line; readonly discard: boolean },
): Promise<Counts> {
  const held = await hold(line.dead)
  const sorted = await sort(context, operator, held)
  const of = (what: Sorted['is']): SortedMessage[] => sorted.filter((message) => message.sorted.is === what)
  // Sent first, deleted afterwards: what breaks off in between is a hint that comes twice, which changes nothing.
  const waiting = of('waiting')
  const notSent = await line.source.send(waiting.map(({ body }) => ({ body })))
  const refused = new Set(notSent.map(({ index }) => index))
  const moved = waiting.filter((_, index) => !refused.has(index))
  const dropped = of('over')
  const unreadable = of('unreadable')
  const gone = [...moved, ...dropped, ...(discard ? unreadable : [])]
  await line.dead.delete(gone.map(({ receipt }) => receipt))
  const left = new Set(gone)
  await giveBack(
    line.dead,
    sorted.filter((message) => !left.has(message)),
  )
  return {
    moved: moved.length,
    dropped: dropped.length,
    discarded: discard ? unreadable.length : 0,
    unreadable: discard ? 0 : unreadable.length,
    others: of('other').length,
  }
}

/** Receives what there is, up to a limit, and hides it for the time of a request. */
async function hold(dead: Queue): Promise<ReceivedMessage[]> {
  const held = new Map<string, ReceivedMessage>()
  const { waiting } = await dead.depth()
  // A short poll of an SQS queue may miss what is there; the number is approximate, so a queue that says 0 is asked too.
  const waitSeconds = waiting > 0 ? 1 : 0
  while (held.size < MESSAGES_MAX) {
    const batch = await dead.receive({ waitSeconds, visibilitySeconds: HELD_S })
    for (const message of batch) held.set(message.id, message)
    if (batch.length === 0 || held.size >= waiting) break
  }
  return [...held.values()]
}

async function giveBack(dead: Queue, messages: readonly ReceivedMessage[]): Promise<void> {
  // One whose time ran out is visible already.
  await Promise.allSettled(messages.map(({ receipt }) => dead.changeVisibility(receipt, 0)))
}

async function sort(
  context: Context,
  operator: Operator,
  messages: readonly ReceivedMessage[],
): Promise<SortedMessage[]> {
  const hints = messages.map(({ body }) => readHint(body))
  const ids = hints.flatMap((hint) => (hint === null ? [] : [hint.job]))
  const standings = await inTenant(context, operator, (database) => jobStandings(database, ids))
  return messages.map((message, index) => {
    const hint = hints[index] ?? null
    if (hint === null) return { ...message, sorted: { is: 'unreadable' } }
    const standing = standings.get(hint.job)
    if (standing === undefined) return { ...message, sorted: { is: 'other' } }
    const is = standing.state === 'queued' && standing.attempt === hint.attempt ? 'waiting' : 'over'
    return { ...message, sorted: { is, hint, standing } }
  })
}

function readHint(body: string): JobHint | null {
  try {
    return jobHint.parse(parseStrictJson(Buffer.from(body, 'utf8')))
  } catch {
    return null
  }
}

const RETRY = z.strictObject({
  queue: z.enum(JOB_KINDS).nullable().default(null),
  discard_unreadable: z.boolean().default(false),
})
const COUNTS = ['moved', 'dropped', 'discarded', 'unreadable', 'others'] as const
const NO_QUEUES = problem(
  409,
  'no_dead_letter_queues',
  'this control plane was started without dead-letter queues (DLQ_URL_RESOLVE and its siblings)',
)
/** Of one queue in one request; ask again for the rest. */
const MESSAGES_MAX = 100
/** Longer than a request may take. */
const HELD_S = 30
