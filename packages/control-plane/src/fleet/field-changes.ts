import type { FleetChange } from '@crystal-forge/protocol'

export type Changes = NonNullable<FleetChange['changes']>

/** The members of `to` that differ from `from`; an undefined member is not mentioned, so it does not differ. */
export function fieldChanges(
  from: Readonly<Record<string, unknown>>,
  to: Readonly<Record<string, unknown>>,
): Changes {
  return Object.fromEntries(
    Object.entries(to)
      .filter(([name, value]) => value !== undefined && value !== from[name])
      .map(([name, value]) => [name, { from: from[name] ?? null, to: value }]),
  )
}

/** The step for something that is registered: what happens to it depends on its fields and on whether it is active. */
export function stepFor(
  thing: { readonly kind: FleetChange['kind']; readonly name: string; readonly active: boolean },
  changes: Changes,
): FleetChange {
  const { kind, name, active } = thing
  const differs = Object.keys(changes).length > 0
  if (!active) return { action: 'reactivate', kind, name, ...(differs ? { changes } : {}) }
  return differs ? { action: 'update', kind, name, changes } : { action: 'keep', kind, name }
}

/** What is registered and active, and not declared: deactivated with `prune`, otherwise only named. */
export function leftOver<Kind extends 'flake' | 'hook' | 'builder' | 'system'>(
  kind: Kind,
  names: readonly string[],
  prune: boolean,
): { changes: FleetChange[]; undeclared: { kind: Kind; name: string }[] } {
  if (prune) return { changes: names.map((name) => ({ action: 'deactivate', kind, name })), undeclared: [] }
  return { changes: [], undeclared: names.map((name) => ({ kind, name })) }
}
