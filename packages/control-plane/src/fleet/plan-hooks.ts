import type { FleetChange, FleetDocument, FleetPlan } from '@crystal-forge/protocol'
import { leftOver, stepFor } from './field-changes.ts'
import type { FleetOptions, FleetRefusal } from './fleet-refusal.ts'
import type { RegisteredFleet, RegisteredHook } from './registered-fleet.ts'

export type HooksPlan = {
  readonly changes: FleetChange[]
  readonly undeclared: FleetPlan['undeclared']
  readonly refusals: FleetRefusal[]
}

/** Hooks are named `flake/provider`. Their secrets are compared and never shown. */
export function planHooks(
  declared: FleetDocument,
  registered: RegisteredFleet,
  options: FleetOptions,
): HooksPlan {
  const known = new Map(registered.hooks.map((hook) => [nameOf(hook), hook]))
  const flakes = new Set(
    [...declared.flakes, ...registered.flakes.filter(({ active }) => active && !options.prune)].map(
      ({ name }) => name,
    ),
  )
  const refusals: FleetRefusal[] = []
  const changes = declared.hooks.map((wanted, index): FleetChange => {
    const found = known.get(nameOf(wanted))
    const refusal = refuse(wanted, { index, found, flakes })
    if (refusal !== null) refusals.push(refusal)
    return step(wanted, found)
  })
  const names = new Set(declared.hooks.map(nameOf))
  const gone = registered.hooks.filter((hook) => hook.active && !names.has(nameOf(hook)))
  const left = leftOver('hook', gone.map(nameOf), options.prune)
  return { changes: [...changes, ...left.changes], undeclared: left.undeclared, refusals }
}

function refuse(
  wanted: FleetDocument['hooks'][number],
  context: {
    readonly index: number
    readonly found: RegisteredHook | undefined
    readonly flakes: ReadonlySet<string>
  },
): FleetRefusal | null {
  const { index, found, flakes } = context
  if (!flakes.has(wanted.flake))
    return {
      code: 'unknown_flake',
      path: `hooks.${index}.flake`,
      detail: `flake is "${wanted.flake}", which is not declared: add it under [[flakes]] or correct the name`,
    }
  if (found === undefined && wanted.secret === undefined)
    return {
      code: 'invalid_fleet',
      path: `hooks.${index}.secret`,
      detail: `the new hook ${nameOf(wanted)} has no secret: name a file of at least 16 bytes with secret_file`,
    }
  return null
}

function step(wanted: FleetDocument['hooks'][number], found: RegisteredHook | undefined): FleetChange {
  const name = nameOf(wanted)
  if (found === undefined) return { action: 'create', kind: 'hook', name }
  const changed = wanted.secret !== undefined && wanted.secret !== found.secret
  const changes = changed ? { secret: { from: '(sealed)', to: '(sealed)' } } : {}
  return {
    ...stepFor({ kind: 'hook', name, active: found.active }, changes),
    path: `/v1/hooks/${found.id}`,
    ...(changed ? { note: 'the previous secret stays valid until the next change' } : {}),
  }
}

function nameOf(hook: { readonly flake: string; readonly provider: string }): string {
  return `${hook.flake}/${hook.provider}`
}
