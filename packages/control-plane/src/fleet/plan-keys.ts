import {
  checkEnrolmentKey,
  type FleetChange,
  type FleetDocument,
  parsePublicKey,
} from '@crystal-forge/protocol'
import type { FleetRefusal } from './fleet-refusal.ts'
import type { RegisteredFleet, RegisteredKey } from './registered-fleet.ts'

/** A key and whom it names. */
export type Holder = {
  readonly owner: 'system' | 'builder'
  readonly name: string
  readonly publicKey: string
}

/**
 * What stands against a declared key: it is not a sound Ed25519 key, it stands twice in the declaration, or it belongs or has
 * belonged to somebody else. A key never changes its owner, because old evidence was signed with it.
 */
export function findPublicKeyRefusals(declared: FleetDocument, registered: RegisteredFleet): FleetRefusal[] {
  const owners = new Map(registered.keys.map((key) => [key.publicKey, key]))
  const seen = new Map<string, Holder>()
  return holders(declared).flatMap(({ path, holder }): FleetRefusal[] => {
    const owner = owners.get(holder.publicKey) ?? seen.get(holder.publicKey)
    seen.set(holder.publicKey, holder)
    if (owner !== undefined && (owner.owner !== holder.owner || owner.name !== holder.name))
      return [
        {
          code: 'key_in_use',
          path,
          detail: `public_key of ${holder.owner} "${holder.name}" belongs to the ${owner.owner} "${owner.name}": make a new pair with cf keygen`,
        },
      ]
    if (owner !== undefined) return []
    const key = parsePublicKey(holder.publicKey)
    const fault = key === null ? 'encoding' : checkEnrolmentKey(key)
    if (fault === null) return []
    return [
      {
        code: 'key_refused',
        path,
        detail: `public_key of ${holder.owner} "${holder.name}" is not a sound Ed25519 key (${fault}): make a new pair with cf keygen`,
      },
    ]
  })
}

function holders(declared: FleetDocument): { readonly path: string; readonly holder: Holder }[] {
  const builders = declared.builders.map(({ name, public_key: publicKey }, index) => ({
    path: `builders.${index}.public_key`,
    holder: { owner: 'builder' as const, name, publicKey },
  }))
  const systems = declared.systems.flatMap(({ hostname: name, public_key: publicKey }, index) =>
    publicKey === undefined
      ? []
      : [{ path: `systems.${index}.public_key`, holder: { owner: 'system' as const, name, publicKey } }],
  )
  return [...builders, ...systems]
}

/**
 * The step for a declared key. A new key revokes the ones before it. A declared key that was revoked (the host has rotated it
 * away, or somebody revoked it) stays revoked: a declaration in git must not bring a key back.
 */
export function planKey(holder: Holder, keys: readonly RegisteredKey[]): FleetChange | null {
  const declared = keys.find((key) => key.publicKey === holder.publicKey)
  const active = keys.filter((key) => key.active)
  const name = holder.name
  if (declared === undefined) {
    const from = active.map((key) => key.keyId).join(', ')
    const change = { public_key: { from: from === '' ? null : from, to: holder.publicKey } }
    return active.length === 0
      ? { action: 'create', kind: 'key', name }
      : { action: 'update', kind: 'key', name, changes: change, note: `revokes ${from}` }
  }
  if (declared.active) return null
  const present = active.map((key) => key.publicKey).join(', ')
  const remedy =
    present === '' ? 'declare a new one' : `its key is now ${present}: write that into the declaration`
  return { action: 'keep', kind: 'key', name, note: `the declared key was revoked and stays so; ${remedy}` }
}

/** The declared keys that nobody has yet: what carrying the plan out stores. */
export function newKeys(declared: FleetDocument, registered: RegisteredFleet): Holder[] {
  const known = new Set(registered.keys.map((key) => key.publicKey))
  return holders(declared)
    .map(({ holder }) => holder)
    .filter((holder) => !known.has(holder.publicKey))
}

export function keysByName(
  keys: readonly RegisteredKey[],
  owner: RegisteredKey['owner'],
): Map<string, RegisteredKey[]> {
  const found = new Map<string, RegisteredKey[]>()
  for (const key of keys) {
    if (key.owner === owner) found.set(key.name, [...(found.get(key.name) ?? []), key])
  }
  return found
}
