import type { FleetRefusal, SealingKey } from '@crystal-forge/control-plane'
import { applyFleet } from '@crystal-forge/postgres'
import { type FleetDocument, type FleetPlan, fleetDocument } from '@crystal-forge/protocol'
import { problem, type Reply } from '../http-api.ts'
import { invalidBody, parse, readBody } from '../operator-body.ts'
import {
  actorOf,
  type Call,
  type Context,
  type Endpoints,
  type OperatorEndpoint,
} from '../operator-endpoint.ts'
import { filter, readQuery, yesNo } from '../operator-query.ts'

/** Secrets of hooks are sealed before they are stored. */
export type FleetContext = Context & { readonly sealingKey: SealingKey }

/** `PUT /v1/fleet?dry_run=&prune=`: the declared state of the tenant, and the plan that leads to it. */
export function fleetEndpoints(context: FleetContext): Endpoints {
  return {
    'PUT /v1/fleet': async (call) => {
      const query = readQuery(call.request.rawQuery, { dry_run: filter(yesNo), prune: filter(yesNo) })
      if (!query.ok) return query.reply
      const body = readBody(call.request.body, fleetDocument)
      if (!body.ok) return body.reply
      const { dry_run: dryRun, prune } = query.filter
      const answer = await declare(context, call, body.value, {
        dryRun: dryRun ?? false,
        prune: prune ?? false,
      })
      return answer.ok ? { status: 200, body: answer.plan } : answer.reply
    },
  }
}

export type Declared =
  | { readonly ok: true; readonly plan: FleetPlan }
  | { readonly ok: false; readonly reply: Reply }

/** Applies a declaration in the name of the caller. */
export async function declare(
  context: FleetContext,
  { operator }: Call,
  declared: FleetDocument,
  options: { readonly dryRun: boolean; readonly prune: boolean } = { dryRun: false, prune: false },
): Promise<Declared> {
  const outcome = await applyFleet(context.pool, {
    tenant: operator.tenant,
    actor: actorOf(operator),
    declared,
    options: { ...options, admin: operator.role === 'admin' },
    sealingKey: context.sealingKey,
  })
  return outcome.ok ? outcome : { ok: false, reply: refusalReply(outcome.refusals) }
}

/** A body that is one entry of a declaration, such as one system. Its faults are named without the place in the declaration. */
export function declareJson(
  section: 'systems' | 'flakes',
  then: (call: Call, declared: FleetDocument) => Promise<Reply>,
): OperatorEndpoint {
  return async (call) => {
    const query = readQuery(call.request.rawQuery, {})
    if (!query.ok) return query.reply
    const json = parse(call.request.body)
    if (!json.ok) return json.reply
    const wrapped = { [section]: [json.value] }
    const parsed = fleetDocument.safeParse(wrapped)
    if (!parsed.success) return invalidBody(wrapped, parsed.error, 2)
    return await then(call, parsed.data)
  }
}

function refusalReply(refusals: readonly FleetRefusal[]): Reply {
  const [first] = refusals
  if (first === undefined) throw new Error('a refused declaration has no reason')
  const errors = refusals.slice(0, 20).map(({ path, detail }) => ({ path, message: detail }))
  return problem(STATUS[first.code], first.code, first.detail, { errors })
}

const STATUS: Readonly<Record<FleetRefusal['code'], number>> = {
  unknown_flake: 422,
  invalid_fleet: 422,
  key_refused: 422,
  key_in_use: 409,
  local_needs_admin: 403,
}
