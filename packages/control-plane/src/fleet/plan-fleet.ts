import type { FleetChange, FleetDocument, FleetPlan } from '@crystal-forge/protocol'
import type { FleetOptions, FleetRefusal } from './fleet-refusal.ts'
import { planBuilders } from './plan-builders.ts'
import { planEnvironments } from './plan-environments.ts'
import { type PlannedFlake, planFlakes } from './plan-flakes.ts'
import { planHooks } from './plan-hooks.ts'
import { findPublicKeyRefusals, type Holder, newKeys } from './plan-keys.ts'
import { type PlannedSystem, planSystems } from './plan-systems.ts'
import type { RegisteredFleet } from './registered-fleet.ts'

/** The steps to a declaration, as people read them and as they are carried out. */
export type PlannedFleet = {
  readonly changes: readonly FleetChange[]
  readonly undeclared: FleetPlan['undeclared']
  readonly flakes: readonly PlannedFlake[]
  readonly systems: readonly PlannedSystem[]
  /** Keys to store; each revokes what its owner had before. */
  readonly keys: readonly Holder[]
}
export type FleetPlanning =
  | { readonly ok: true; readonly plan: PlannedFleet }
  | { readonly ok: false; readonly refusals: readonly FleetRefusal[] }

/**
 * Compares a declaration with what is registered. Pure and idempotent: once a plan was carried out, the same declaration
 * gives `keep` for everything. What an entry does not mention is left as it is, above all a `desired_target` that an
 * operator has set. Nothing is ever deleted: what is gone is deactivated, and only with `prune`.
 */
export function planFleet(
  declared: FleetDocument,
  registered: RegisteredFleet,
  options: FleetOptions,
): FleetPlanning {
  const environments = planEnvironments(declared, registered)
  const flakes = planFlakes(declared, registered, options)
  const hooks = planHooks(declared, registered, options)
  const builders = planBuilders(declared, registered, options)
  const systems = planSystems(declared, registered, options)
  const refusals = [
    ...flakes.refusals,
    ...hooks.refusals,
    ...systems.refusals,
    ...findPublicKeyRefusals(declared, registered),
  ]
  if (refusals.length > 0) return { ok: false, refusals }
  return {
    ok: true,
    plan: {
      changes: [
        ...environments,
        ...flakes.changes,
        ...hooks.changes,
        ...builders.changes,
        ...systems.changes,
      ],
      undeclared: [...flakes.undeclared, ...hooks.undeclared, ...builders.undeclared, ...systems.undeclared],
      flakes: flakes.planned,
      systems: systems.planned,
      keys: newKeys(declared, registered),
    },
  }
}

/** Whether carrying the plan out writes anything. */
export function changesSomething(plan: PlannedFleet): boolean {
  return plan.changes.some((change) => change.action !== 'keep')
}
