import {
  type Catalogue,
  type Person,
  stepWaiver,
  WAIVER_STATES,
  WAIVER_TYPES,
  type WaiverAction,
  type WaiverScope,
} from '@crystal-forge/control-plane'
import {
  type Database,
  draftWaiver,
  listWaivers,
  moveWaiver,
  recordEvent,
  showWaiver,
  type WaiverDetail,
} from '@crystal-forge/postgres'
import { instant, line, text } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import {
  type Call,
  type Context,
  change,
  type Endpoints,
  list,
  type OperatorEndpoint,
  parameter,
  show,
  unknown,
} from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'
import { AS_OF } from './assessment.ts'
import { unknownRule } from './controls.ts'

/** Waivers from their draft to their end. Each step is an event; who wrote or submitted one never approves it. */
export function waiverEndpoints(context: Context, catalogue: () => Catalogue): Endpoints {
  return {
    'GET /v1/waivers': list(
      context,
      {
        state: filter(z.enum(WAIVER_STATES)),
        rule: filter(z.string().regex(/^V-[0-9]{6}$/, 'expected a rule such as V-268078')),
        expiring_within_s: filter(
          z
            .string()
            .regex(/^[0-9]{1,8}$/, 'expected whole seconds, at most 365 days of them')
            .transform(Number)
            .refine(
              (seconds) => seconds * 1000 <= LONGEST_MS,
              'expected at most 31536000 seconds (365 days)',
            ),
        ),
        as_of: AS_OF.as_of,
      },
      (database, { state, rule, expiring_within_s: expiringWithinS, as_of: asOf }, page) =>
        listWaivers(database, { state, rule, expiringWithinS, at: asOf ?? context.now() }, page),
    ),
    'GET /v1/waivers/{waiver}': show(context, 'waiver', (database, name) =>
      showWaiver(database, name, context.now()),
    ),
    'POST /v1/waivers': draft(context, catalogue),
    'POST /v1/waivers/{waiver}/submit': change(context, submission, (transaction, call) =>
      move(context, transaction, { action: 'submit', ...call }),
    ),
    ...Object.fromEntries(
      (['approve', 'reject', 'revoke'] as const).map((action) => [
        `POST /v1/waivers/{waiver}/${action}`,
        step(context, action),
      ]),
    ),
  }
}

const scope = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('fleet') }),
  z.strictObject({ kind: z.literal('environment'), environment: line(64).min(1) }),
  z.strictObject({ kind: z.literal('hosts'), hosts: z.array(line(253).min(1)).min(1).max(1000) }),
  z.strictObject({
    kind: z.literal('configuration'),
    flake: line(64).min(1),
    configuration: line(128).min(1),
  }),
]) satisfies z.ZodType<WaiverScope>

const time = instant.transform((value) => new Date(value))

const newWaiver = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'expected up to 100 of A-Z a-z 0-9 . _ -'),
  rules: z
    .array(z.string().regex(/^V-[0-9]{6}$/, 'expected a rule such as V-268078'))
    .min(1)
    .max(200),
  scope,
  type: z.enum(WAIVER_TYPES),
  justification: text(4000).min(10),
  compensating: text(4000).default(''),
  residual_severity: z.enum(['high', 'medium', 'low']).nullable().default(null),
  owner: line(200).nullable().default(null),
  milestones: z
    .array(z.strictObject({ text: line(500).min(1), due: z.iso.date() }))
    .max(50)
    .default([]),
  review_at: time.nullable().default(null),
  expires_at: time,
  renews: line(100).nullable().default(null),
})

function draft(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return change(context, newWaiver, async (transaction, { body, actor, operator }) => {
    const stranger = body.rules.find((rule) => !catalogue().rules.has(rule))
    if (stranger !== undefined) return unknownRule(stranger)
    const now = context.now()
    if (body.expires_at <= now || body.expires_at.getTime() > now.getTime() + LONGEST_MS)
      return problem(
        422,
        'invalid_body',
        `expires_at is ${body.expires_at.toISOString()}; it must lie in the next 365 days`,
      )
    const renewed = body.renews === null ? null : await showWaiver(transaction, body.renews, now)
    if (body.renews !== null && renewed === null) return unknown('waiver', body.renews)
    const id = await draftWaiver(transaction, {
      ...body,
      residualSeverity: body.residual_severity,
      reviewAt: body.review_at,
      author: operator,
      expiresAt: body.expires_at,
      renews: renewed?.id ?? null,
    })
    if (id === null)
      return problem(409, 'waiver_exists', `name is ${JSON.stringify(body.name)}, which another waiver has`)
    const detail = { waiver: id, name: body.name, rules: body.rules, renews: renewed?.id ?? null }
    await recordEvent(transaction, { type: 'waiver.drafted', actor, detail })
    return { status: 201, body: (await showWaiver(transaction, id, later(now))) ?? {} }
  })
}

const submission = z.strictObject({
  reason: text(2000).default(''),
  /** What the draft of a configuration leaves open. */
  type: z.enum(WAIVER_TYPES).optional(),
  expires_at: time.optional(),
})
const reason = z.strictObject({ reason: text(2000).default('') })

function step(context: Context, action: 'approve' | 'reject' | 'revoke'): OperatorEndpoint {
  return change(context, reason, (transaction, call) => move(context, transaction, { action, ...call }))
}

type Move = Call & {
  readonly action: Exclude<WaiverAction, 'expire' | 'renew'>
  readonly body: z.output<typeof submission>
  readonly actor: Parameters<typeof recordEvent>[1]['actor']
}

async function move(context: Context, transaction: Database, order: Move): Promise<Reply> {
  const { request, operator, body, action, actor } = order
  const now = context.now()
  const name = parameter(request, 'waiver')
  const waiver = await showWaiver(transaction, name, later(now))
  if (waiver === null) return unknown('waiver', name)
  const facts = {
    state: waiver.state,
    author: { subject: waiver.author_subject, name: waiver.author },
    submitter:
      waiver.submitter === null ? null : { subject: waiver.submitter_subject, name: waiver.submitter },
    expiresAt: body.expires_at ?? waiver.expires_at,
    type: body.type ?? waiver.type,
  }
  const next = stepWaiver(facts, action, operator, now)
  if (!next.ok) return problem(409, `waiver_${next.because}`, `${waiver.name}: ${next.detail}`)
  const moved = await moveWaiver(transaction, {
    waiver: waiver.id,
    after: waiver.step,
    state: next.state,
    person: operator,
    reason: body.reason,
    type: body.type ?? null,
    expiresAt: body.expires_at ?? null,
  })
  if (!moved) return problem(409, 'waiver_moved', `${waiver.name} was changed meanwhile: look at it again`)
  if (action === 'approve') await renew(transaction, { waiver, person: operator, actor, now })
  const detail = { waiver: waiver.id, name: waiver.name, rules: waiver.rules, reason: body.reason }
  await recordEvent(transaction, { type: `waiver.${next.state}`, actor, detail })
  return { status: 200, body: (await showWaiver(transaction, waiver.id, later(now))) ?? {} }
}

/** The one that is replaced ends with the approval of the new one, not before. */
async function renew(
  transaction: Database,
  { waiver, person, actor, now }: Pick<Move, 'actor'> & { waiver: WaiverDetail; person: Person; now: Date },
): Promise<void> {
  const old = waiver.renews === null ? null : await showWaiver(transaction, waiver.renews, later(now))
  if (old === null || (old.state !== 'approved' && old.state !== 'expired')) return
  const reason = `renewed by ${waiver.name}`
  const moved = await moveWaiver(transaction, {
    waiver: old.id,
    after: old.transitions.at(-1)?.step ?? old.step,
    state: 'renewed',
    person,
    reason,
    type: null,
    expiresAt: null,
  })
  const detail = { waiver: old.id, name: old.name, rules: old.rules, reason }
  if (moved) await recordEvent(transaction, { type: 'waiver.renewed', actor, detail })
}

/** The database's clock stamps the steps, and may be a little ahead of ours. */
function later(now: Date): Date {
  return new Date(now.getTime() + 60_000)
}

const LONGEST_MS = 365 * 86_400_000
