import type { FleetChange, FleetDocument, FleetPlan } from '@crystal-forge/protocol'
import { leftOver, stepFor } from './field-changes.ts'
import type { FleetOptions } from './fleet-refusal.ts'
import { keysByName, planKey } from './plan-keys.ts'
import type { RegisteredFleet } from './registered-fleet.ts'

export type BuildersPlan = { readonly changes: FleetChange[]; readonly undeclared: FleetPlan['undeclared'] }

export function planBuilders(
  declared: FleetDocument,
  registered: RegisteredFleet,
  options: FleetOptions,
): BuildersPlan {
  const known = new Map(registered.builders.map((builder) => [builder.name, builder]))
  const keys = keysByName(registered.keys, 'builder')
  const changes = declared.builders.flatMap(({ name, public_key: publicKey }): FleetChange[] => {
    const found = known.get(name)
    const key = planKey({ owner: 'builder', name, publicKey }, keys.get(name) ?? [])
    const step: FleetChange =
      found === undefined
        ? { action: 'create', kind: 'builder', name }
        : stepFor({ kind: 'builder', name, active: found.active }, {})
    return key === null ? [step] : [step, key]
  })
  const names = new Set(declared.builders.map(({ name }) => name))
  const gone = registered.builders.filter((builder) => builder.active && !names.has(builder.name))
  const left = leftOver(
    'builder',
    gone.map(({ name }) => name),
    options.prune,
  )
  return { changes: [...changes, ...left.changes], undeclared: left.undeclared }
}
