import type { FleetChange, FleetDocument, FleetPlan } from '@crystal-forge/protocol'
import { fieldChanges, leftOver, stepFor } from './field-changes.ts'
import type { FleetOptions, FleetRefusal } from './fleet-refusal.ts'
import { keysByName, planKey } from './plan-keys.ts'
import type { RegisteredFleet, RegisteredSystem } from './registered-fleet.ts'

/** A declared system with everything that is stored of it. */
export type PlannedSystem = {
  readonly hostname: string
  readonly environment: string | null
  readonly flake: string | null
  readonly configuration: string | null
  readonly policy: string
  readonly desiredTarget: string | null
}

export type SystemsPlan = {
  readonly changes: FleetChange[]
  readonly undeclared: FleetPlan['undeclared']
  readonly planned: PlannedSystem[]
  readonly refusals: FleetRefusal[]
}

export function planSystems(
  declared: FleetDocument,
  registered: RegisteredFleet,
  options: FleetOptions,
): SystemsPlan {
  const known = new Map(registered.systems.map((system) => [system.hostname, system]))
  const flakes = flakeNames(declared, registered, options.prune)
  const keys = keysByName(registered.keys, 'system')
  const refusals: FleetRefusal[] = []
  const planned: PlannedSystem[] = []
  const changes = declared.systems.flatMap((wanted, index): FleetChange[] => {
    const found = known.get(wanted.hostname)
    const system = merged(wanted, found)
    const refusal = refuse(wanted, system, { index, flakes })
    if (refusal !== null) refusals.push(refusal)
    planned.push(system)
    const { hostname: name, public_key: publicKey } = wanted
    const key =
      publicKey === undefined ? null : planKey({ owner: 'system', name, publicKey }, keys.get(name) ?? [])
    const step = stepOf(system, found)
    return key === null ? [step] : [step, key]
  })
  const names = new Set(declared.systems.map(({ hostname }) => hostname))
  const gone = registered.systems.filter((system) => system.active && !names.has(system.hostname))
  const left = leftOver(
    'system',
    gone.map(({ hostname }) => hostname),
    options.prune,
  )
  return { changes: [...changes, ...left.changes], undeclared: left.undeclared, planned, refusals }
}

/** What the declaration does not mention is as it was; a system that follows a flake follows its own name by default. */
function merged(
  wanted: FleetDocument['systems'][number],
  found: RegisteredSystem | undefined,
): PlannedSystem {
  const flake = wanted.flake_name === undefined ? (found?.flake ?? null) : wanted.flake_name
  const moved = flake !== (found?.flake ?? null)
  const before = moved ? undefined : (found?.configuration ?? undefined)
  return {
    hostname: wanted.hostname,
    environment: wanted.environment ?? found?.environment ?? null,
    flake,
    configuration: flake === null ? null : (wanted.configuration ?? before ?? wanted.hostname),
    policy: wanted.deployment_policy,
    desiredTarget:
      wanted.desired_target === undefined ? (found?.desiredTarget ?? null) : wanted.desired_target,
  }
}

function refuse(
  wanted: FleetDocument['systems'][number],
  system: PlannedSystem,
  context: { readonly index: number; readonly flakes: readonly string[] },
): FleetRefusal | null {
  const { index, flakes } = context
  if (typeof wanted.flake_name === 'string' && !flakes.includes(wanted.flake_name))
    return {
      code: 'unknown_flake',
      path: `systems.${index}.flake_name`,
      detail: `flake_name of "${wanted.hostname}" is "${wanted.flake_name}", which is not declared: add it under [[flakes]] or use one of ${flakes.slice(0, 10).join(', ') || '(none is known)'}`,
    }
  if (wanted.configuration !== undefined && system.flake === null)
    return {
      code: 'invalid_fleet',
      path: `systems.${index}.configuration`,
      detail: `configuration of "${wanted.hostname}" is "${wanted.configuration}" without a flake: add flake_name`,
    }
  return null
}

/** With `prune` a flake that is not declared is about to go. */
function flakeNames(declared: FleetDocument, registered: RegisteredFleet, prune: boolean): readonly string[] {
  const active = registered.flakes.filter((flake) => flake.active && !prune)
  return [...new Set([...declared.flakes, ...active].map(({ name }) => name))]
}

function stepOf(system: PlannedSystem, found: RegisteredSystem | undefined): FleetChange {
  const name = system.hostname
  if (found === undefined) return { action: 'create', kind: 'system', name }
  const fields = (one: PlannedSystem | RegisteredSystem): Record<string, unknown> => ({
    environment: one.environment,
    flake_name: one.flake,
    configuration: one.configuration,
    deployment_policy: one.policy,
    desired_target: one.desiredTarget,
  })
  return stepFor({ kind: 'system', name, active: found.active }, fieldChanges(fields(found), fields(system)))
}
