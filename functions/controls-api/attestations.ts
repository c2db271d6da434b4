import { type Catalogue, isSamePerson } from '@crystal-forge/control-plane'
import {
  addStatement,
  type Database,
  decideStatement,
  hostEvidence,
  listStatements,
  recordEvent,
  showStatement,
} from '@crystal-forge/postgres'
import { hexSha256, instant, line, text } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem } from '../http-api.ts'
import {
  type Context,
  change,
  type Endpoints,
  list,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'
import { unknownRule } from './controls.ts'

/** What people say of rules. That one holds counts once somebody else accepted it; that it does not hold counts at once. */
export function attestationEndpoints(context: Context, catalogue: () => Catalogue): Endpoints {
  return {
    'GET /v1/attestations': list(
      context,
      {
        system: filter(line(253)),
        rule: filter(z.string().regex(/^V-[0-9]{6}$/, 'expected a rule such as V-268078')),
      },
      listStatements,
    ),
    'POST /v1/attestations': attest(context, catalogue),
    'POST /v1/attestations/{attestation}/accept': decide(context, 'accepted'),
    'POST /v1/attestations/{attestation}/reject': decide(context, 'rejected'),
  }
}

const attestation = z.strictObject({
  system: line(253).min(1),
  rule: z.string().regex(/^V-[0-9]{6}$/, 'expected a rule such as V-268078'),
  holds: z.boolean(),
  statement: text(4000).min(10),
  document_sha256: hexSha256.nullable().default(null),
  collected_at: instant
    .transform((value) => new Date(value))
    .nullable()
    .default(null),
  expires_in_days: z.int().min(1).max(3650).nullable().default(null),
})

function attest(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return change(context, attestation, async (transaction, { body, actor, operator }) => {
    const rule = catalogue().rules.get(body.rule)
    if (rule === undefined) return unknownRule(body.rule)
    const now = context.now()
    const host = await oneHost(transaction, body.system, now)
    if (host === undefined) return unknown('system', body.system)
    const collectedAt = body.collected_at ?? now
    if (collectedAt > now)
      return problem(422, 'invalid_body', `collected_at is ${collectedAt.toISOString()}, which has not come`)
    const most = rule.assess.human.maxAgeDays ?? 365
    const days = body.expires_in_days ?? most
    if (days > most)
      return problem(
        422,
        'invalid_body',
        `expires_in_days is ${days}; ${rule.id} takes statements for ${most} days`,
      )
    const id = await addStatement(transaction, {
      system: host.system,
      rule: rule.id,
      source: 'attestation',
      holds: body.holds,
      statement: body.statement,
      toplevel: host.running?.current ?? null,
      claimedStatus: null,
      documentSha256: body.document_sha256,
      author: operator,
      collectedAt,
      expiresAt: new Date(collectedAt.getTime() + days * 86_400_000),
    })
    const detail = {
      statement: id,
      system: host.system,
      rule: rule.id,
      holds: body.holds,
      document: body.document_sha256,
    }
    await recordEvent(transaction, { type: 'control.attested', actor, detail })
    return { status: 201, body: (await showStatement(transaction, id)) ?? {} }
  })
}

async function oneHost(
  transaction: Database,
  name: string,
  at: Date,
): Promise<Awaited<ReturnType<typeof hostEvidence>>[number] | undefined> {
  return (await hostEvidence(transaction, { kind: 'one', name }, at))[0]
}

const decision = z.strictObject({ reason: text(2000).default('') })

function decide(context: Context, verdict: 'accepted' | 'rejected'): OperatorEndpoint {
  return change(context, decision, async (transaction, { request, body, actor, operator }) => {
    const id = parameter(request, 'attestation')
    const statement = await showStatement(transaction, id)
    if (statement === null) return unknown('attestation', id)
    const author = { subject: statement.author_subject, name: statement.author }
    if (verdict === 'accepted' && isSamePerson(author, operator))
      return problem(
        409,
        'own_statement',
        `${operator.name} (${operator.subject}) made it; somebody else accepts it, with a token whose subject says so`,
      )
    if (verdict === 'accepted' && statement.expires_at <= context.now())
      return problem(
        409,
        'statement_expired',
        `it expired at ${statement.expires_at.toISOString()}: make a new one`,
      )
    await decideStatement(transaction, {
      statement: id,
      decision: verdict,
      person: operator,
      reason: body.reason,
    })
    const detail = { statement: id, rule: statement.rule, decision: verdict }
    await recordEvent(transaction, { type: 'control.decided', actor, detail })
    return { status: 200, body: (await showStatement(transaction, id)) ?? {} }
  })
}
