import { HEALTHS, healthOf, VERDICTS, verdictSentence } from '@crystal-forge/control-plane'
import {
  type DriftRow,
  deactivateSystem,
  listDrift,
  listStates,
  listSystemKeys,
  recordEvent,
  showDrift,
} from '@crystal-forge/postgres'
import { configurationName, environmentName, line, storePathText } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem } from '../http-api.ts'
import { readBody } from '../operator-body.ts'
import {
  type Context,
  change,
  type Endpoints,
  inTenant,
  list,
  type OperatorEndpoint,
  parameter,
  show,
  unknown,
} from '../operator-endpoint.ts'
import { filter, paged, readQuery, yesNo } from '../operator-query.ts'
import { declare, declareJson, type FleetContext } from './fleet.ts'

/** Registered hosts: who they are, how they are, and the word for their drift. */
export function systemEndpoints(context: FleetContext): Endpoints {
  return {
    'GET /v1/systems': list(
      context,
      { ...DRIFT_FILTERS, active: filter(yesNo) },
      async (database, wanted, page) => {
        const listed = await listDrift(database, wanted, page)
        return { ...listed, items: listed.items.map((row) => systemItem(row, context.now())) }
      },
    ),
    'GET /v1/systems/{system}': show(context, 'system', async (database, name) => {
      const row = await showDrift(database, name)
      if (row === null) return null
      const now = context.now()
      const keys = await listSystemKeys(database, row.system_id)
      return { ...systemItem(row, now), drift: driftItem(row, now), keys }
    }),
    'GET /v1/systems/{system}/states': states(context),
    'POST /v1/systems': createSystem(context),
    'PATCH /v1/systems/{system}': patchSystem(context),
    'POST /v1/systems/{system}/deactivate': change(
      context,
      NOTHING,
      async (transaction, { request, actor }) => {
        const name = parameter(request, 'system')
        const done = await deactivateSystem(transaction, name)
        if (done === null) return unknown('system', name)
        const detail = { change: 'system.deactivated', system: done.id, hostname: done.name }
        if (done.fresh) await recordEvent(transaction, { type: 'config.changed', actor, detail })
        return { status: 200, body: { id: done.id, hostname: done.name, active: false } }
      },
    ),
  }
}

/** Filters that every list over hosts has. */
export const DRIFT_FILTERS = {
  flake: filter(line(64)),
  environment: filter(line(64)),
  verdict: filter(z.enum(VERDICTS)),
  health: filter(z.enum(HEALTHS)),
  q: filter(line(100)),
}

export const NOTHING: z.ZodType<Record<string, never>, unknown> = z.strictObject({})

function systemItem(row: DriftRow, now: Date): Record<string, unknown> {
  return {
    id: row.system_id,
    hostname: row.hostname,
    active: row.active,
    environment: row.environment,
    flake: row.flake,
    configuration: row.configuration,
    policy: row.policy,
    desired_target: row.desired_target,
    verdict: row.verdict,
    health: healthOf(row.seen_at, now),
    seen_at: row.seen_at,
    current_path: row.current_path,
    generation: row.generation,
    revision: row.revision,
    failed_units: row.failed_units,
    agent_version: row.agent_version,
    nixos_version: row.nixos_version,
    kernel: row.kernel,
    assurance: row.assurance,
    created_at: row.created_at,
  }
}

/** The four paths of a host, what follows from them, and the errors of its own configuration. */
export function driftItem(row: DriftRow, now: Date): Record<string, unknown> {
  const attributedTo =
    row.attributed_flake === null || row.attributed_configuration === null
      ? null
      : { flake: row.attributed_flake, configuration: row.attributed_configuration }
  return {
    system: row.system_id,
    hostname: row.hostname,
    environment: row.environment,
    flake: row.flake,
    configuration: row.configuration,
    policy: row.policy,
    verdict: row.verdict,
    because: verdictSentence(row.verdict, {
      flake: row.flake,
      configuration: row.configuration,
      commitsBehind: row.commits_behind,
      attributedTo,
    }),
    health: healthOf(row.seen_at, now),
    seen_at: row.seen_at,
    commits_behind: row.commits_behind,
    desired_path: row.desired_path,
    profile_path: row.profile_path,
    current_path: row.current_path,
    booted_path: row.booted_path,
    desired_rev: row.desired_rev,
    running_rev: row.running_rev,
    head_rev: row.head_rev,
    head_state: row.head_state,
    reboot_needed: row.reboot_needed,
    not_persisted: row.not_persisted,
    build_state: row.build_state,
    build_error: row.build_error,
    evaluation_error: row.evaluation_error,
    evaluation_error_rev: row.evaluation_error === null ? null : row.latest_rev,
    attributed_to: attributedTo,
    scan_state: row.running_scan_state,
    failed_units: row.failed_units,
    assurance: row.assurance,
  }
}

/** Which system it is about stands in the path, so this list looks it up first. */
function states(context: Context): OperatorEndpoint {
  return async (call) => {
    const query = paged(call.request.rawQuery, {})
    if (!query.ok) return query.reply
    const name = parameter(call.request, 'system')
    const row = await inTenant(context, call.operator, (database) => showDrift(database, name))
    if (row === null) return unknown('system', name)
    return await list(context, {}, (database, _, page) => listStates(database, row.system_id, page))(call)
  }
}

function createSystem(context: FleetContext): OperatorEndpoint {
  return declareJson('systems', async (call, declared) => {
    const [system] = declared.systems
    const hostname = system?.hostname ?? ''
    const row = await inTenant(context, call.operator, (database) => showDrift(database, hostname))
    if (row?.active)
      return problem(
        409,
        'system_exists',
        `hostname is ${JSON.stringify(hostname)}, which is registered: PATCH /v1/systems/${hostname} changes it`,
      )
    const answer = await declare(context, call, declared)
    if (!answer.ok) return answer.reply
    const made = await inTenant(context, call.operator, (database) => showDrift(database, hostname))
    return { status: 201, body: made === null ? {} : systemItem(made, context.now()) }
  })
}

const systemPatch = z.strictObject({
  environment: environmentName.optional(),
  flake_name: line(64).nullable().optional(),
  configuration: configurationName.optional(),
  deployment_policy: z.enum(['manual', 'auto_latest', 'pinned']).optional(),
  desired_target: storePathText.nullable().optional(),
})

function patchSystem(context: FleetContext): OperatorEndpoint {
  return async (call) => {
    const query = readQuery(call.request.rawQuery, {})
    if (!query.ok) return query.reply
    const body = readBody(call.request.body, systemPatch)
    if (!body.ok) return body.reply
    const name = parameter(call.request, 'system')
    const row = await inTenant(context, call.operator, (database) => showDrift(database, name))
    if (row === null || !row.active) return unknown('system', name)
    const policy = body.value.deployment_policy ?? policyOf(row)
    const system = { ...body.value, hostname: row.hostname, deployment_policy: policy }
    const answer = await declare(context, call, { ...NO_FLEET, systems: [system] })
    if (!answer.ok) return answer.reply
    const changed = await inTenant(context, call.operator, (database) => showDrift(database, row.system_id))
    return { status: 200, body: changed === null ? {} : systemItem(changed, context.now()) }
  }
}

function policyOf(row: DriftRow): 'manual' | 'auto_latest' | 'pinned' {
  return row.policy === 'auto_latest' || row.policy === 'pinned' ? row.policy : 'manual'
}

/** A declaration of nothing, to which one entry is added. */
const NO_FLEET = { environments: [], flakes: [], hooks: [], builders: [], systems: [] }
