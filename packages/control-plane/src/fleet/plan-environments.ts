import type { FleetChange, FleetDocument } from '@crystal-forge/protocol'
import { fieldChanges, stepFor } from './field-changes.ts'
import type { RegisteredFleet } from './registered-fleet.ts'

/** Environments are labels: one that a system names and nobody declared is made, and the plan says so. */
export function planEnvironments(declared: FleetDocument, registered: RegisteredFleet): FleetChange[] {
  const known = new Map(registered.environments.map((environment) => [environment.name, environment]))
  const steps = declared.environments.map((wanted): FleetChange => {
    const { name, ...fields } = wanted
    const found = known.get(name)
    if (found === undefined) return { action: 'create', kind: 'environment', name }
    const from = {
      description: found.description,
      is_active: found.isActive,
      risk_profile: found.riskProfile,
      compliance_level: found.complianceLevel,
    }
    return stepFor({ kind: 'environment', name, active: true }, fieldChanges(from, fields))
  })
  return [...steps, ...named(declared, registered)]
}

function named(declared: FleetDocument, registered: RegisteredFleet): FleetChange[] {
  const known = new Set([...registered.environments, ...declared.environments].map(({ name }) => name))
  const wanted = new Set(declared.systems.flatMap(({ environment }) => environment ?? []))
  return [...wanted]
    .filter((name) => !known.has(name))
    .map((name) => ({
      action: 'create',
      kind: 'environment',
      name,
      note: 'named by a system and not declared: made with the defaults',
    }))
}
