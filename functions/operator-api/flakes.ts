import {
  deactivateFlake,
  type FlakeRow,
  listFlakes,
  listHooks,
  pollFlake,
  recordEvent,
  showFlake,
} from '@crystal-forge/postgres'
import { line } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem } from '../http-api.ts'
import { readBody } from '../operator-body.ts'
import {
  change,
  type Endpoints,
  inTenant,
  list,
  type OperatorEndpoint,
  parameter,
  show,
  unknown,
} from '../operator-endpoint.ts'
import { filter, readQuery, yesNo } from '../operator-query.ts'
import { declare, declareJson, type FleetContext } from './fleet.ts'
import { NOTHING } from './systems.ts'

/** Watched repositories and the hooks that their forges call. */
export function flakeEndpoints(context: FleetContext): Endpoints {
  return {
    'GET /v1/flakes': list(context, { active: filter(yesNo) }, listFlakes),
    'GET /v1/flakes/{flake}': show(context, 'flake', showFlake),
    'GET /v1/hooks': list(context, { flake: filter(line(64)) }, listHooks),
    'POST /v1/flakes': createFlake(context),
    'PATCH /v1/flakes/{flake}': patchFlake(context),
    'POST /v1/flakes/{flake}/deactivate': change(
      context,
      NOTHING,
      async (transaction, { request, actor }) => {
        const name = parameter(request, 'flake')
        const done = await deactivateFlake(transaction, name)
        if (done === null) return unknown('flake', name)
        const detail = { change: 'flake.deactivated', flake: done.id, name: done.name }
        if (done.fresh) await recordEvent(transaction, { type: 'config.changed', actor, detail })
        return { status: 200, body: { id: done.id, name: done.name, active: false } }
      },
    ),
    'POST /v1/flakes/{flake}/poll': change(context, NOTHING, async (transaction, { request }) => {
      const name = parameter(request, 'flake')
      const flake = await showFlake(transaction, name)
      if (flake === null) return unknown('flake', name)
      if (!flake.active)
        return problem(409, 'flake_inactive', `flake "${flake.name}" is not active: declare it again first`)
      const job = await pollFlake(transaction, flake.id)
      return { status: 202, body: { job: job.id, fresh: job.fresh } }
    }),
  }
}

function createFlake(context: FleetContext): OperatorEndpoint {
  return declareJson('flakes', async (call, declared) => {
    const name = declared.flakes[0]?.name ?? ''
    const found = await inTenant(context, call.operator, (database) => showFlake(database, name))
    if (found?.active)
      return problem(
        409,
        'flake_exists',
        `name is ${JSON.stringify(name)}, which is registered: PATCH /v1/flakes/${name} changes it`,
      )
    const answer = await declare(context, call, declared)
    if (!answer.ok) return answer.reply
    const made = await inTenant(context, call.operator, (database) => showFlake(database, name))
    return { status: 201, body: made }
  })
}

const flakePatch = z.strictObject({
  repo_url: line(500).optional(),
  local: z.boolean().optional(),
  branch: line(200).optional(),
  auto_poll: z.boolean().optional(),
  poll_interval_s: z.int().min(10).max(86_400).optional(),
  initial_commit_depth: z.int().min(1).max(100).optional(),
})

function patchFlake(context: FleetContext): OperatorEndpoint {
  return async (call) => {
    const query = readQuery(call.request.rawQuery, {})
    if (!query.ok) return query.reply
    const body = readBody(call.request.body, flakePatch)
    if (!body.ok) return body.reply
    const name = parameter(call.request, 'flake')
    const found = await inTenant(context, call.operator, (database) => showFlake(database, name))
    if (found === null || !found.active) return unknown('flake', name)
    const flakes = [merged(found, body.value)]
    const none = { environments: [], hooks: [], builders: [], systems: [] }
    const answer = await declare(context, call, { ...none, flakes })
    if (!answer.ok) return answer.reply
    const changed = await inTenant(context, call.operator, (database) => showFlake(database, found.id))
    return { status: 200, body: changed }
  }
}

/** A new URL may name another branch; otherwise the branch stays what it is. */
function merged(
  found: FlakeRow,
  patch: z.output<typeof flakePatch>,
): Parameters<typeof declare>[2]['flakes'][number] {
  const branch = patch.branch ?? (patch.repo_url === undefined ? found.branch : undefined)
  return {
    name: found.name,
    repo_url: patch.repo_url ?? found.repo_url,
    local: patch.local ?? (patch.repo_url === undefined && found.source === 'local'),
    ...(branch === undefined ? {} : { branch }),
    auto_poll: patch.auto_poll ?? found.auto_poll,
    poll_interval_s: patch.poll_interval_s ?? found.poll_interval_s,
    initial_commit_depth: patch.initial_commit_depth ?? found.initial_commit_depth,
  }
}
