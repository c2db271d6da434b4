import {
  type FleetDocument,
  fleetDocument,
  generateKeyPair,
  keyId,
  parsePublicKey,
  renderPublicKey,
} from '@crystal-forge/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { changesSomething, type PlannedFleet, planFleet } from './plan-fleet.ts'
import type { RegisteredFleet, RegisteredKey } from './registered-fleet.ts'

const NOTHING: RegisteredFleet = {
  environments: [],
  flakes: [],
  hooks: [],
  builders: [],
  systems: [],
  keys: [],
}
const OPTIONS = { prune: false, admin: true }
/** Each run checks some twenty keys for soundness, which takes its time. */
const RUNS = { numRuns: 30 }
const KEYS = Array.from({ length: 12 }, () => renderPublicKey(generateKeyPair().publicKey))

function planned(declared: FleetDocument, registered: RegisteredFleet, prune = false): PlannedFleet {
  const planning = planFleet(declared, registered, { prune, admin: true })
  if (!planning.ok) throw new Error(JSON.stringify(planning.refusals))
  return planning.plan
}

/** What is registered once a plan was carried out: the meaning that SQL gives to it. */
function carriedOut(plan: PlannedFleet, declared: FleetDocument, before: RegisteredFleet): RegisteredFleet {
  const gone = new Set(
    plan.changes.filter(({ action }) => action === 'deactivate').map(({ kind, name }) => `${kind} ${name}`),
  )
  const put = <Item>(items: readonly Item[], next: readonly Item[], name: (item: Item) => string): Item[] => [
    ...new Map([...items, ...next].map((item) => [name(item), item])).values(),
  ]
  const alive = <Item extends { active: boolean }>(
    kind: string,
    items: Item[],
    name: (item: Item) => string,
  ): Item[] => items.map((item) => (gone.has(`${kind} ${name(item)}`) ? { ...item, active: false } : item))
  const environments = declared.environments.map((one) => ({
    name: one.name,
    description: one.description,
    isActive: one.is_active,
    riskProfile: one.risk_profile,
    complianceLevel: one.compliance_level,
  }))
  const named = plan.changes
    .filter(({ kind, note }) => kind === 'environment' && note !== undefined)
    .map(({ name }) => ({
      name,
      description: '',
      isActive: true,
      riskProfile: 'MEDIUM',
      complianceLevel: 'NONE',
    }))
  const keys: RegisteredKey[] = plan.keys.map((key) => ({
    ...key,
    keyId: keyId(parsePublicKey(key.publicKey) ?? new Uint8Array()),
    active: true,
  }))
  const replaced = new Set(keys.map(({ owner, name }) => `${owner} ${name}`))
  const kept = before.keys.map((key) =>
    replaced.has(`${key.owner} ${key.name}`) ? { ...key, active: false } : key,
  )
  const hooks = declared.hooks.map(({ flake, provider, secret }) => {
    const found = before.hooks.find((hook) => hook.flake === flake && hook.provider === provider)
    return {
      flake,
      provider,
      id: found?.id ?? `${flake}-${provider}`,
      active: true,
      secret: secret ?? found?.secret ?? null,
    }
  })
  return {
    environments: put(before.environments, [...environments, ...named], ({ name }) => name),
    flakes: alive(
      'flake',
      put(
        before.flakes,
        plan.flakes.map((one) => ({ ...one, active: true })),
        ({ name }) => name,
      ),
      ({ name }) => name,
    ),
    hooks: alive(
      'hook',
      put(before.hooks, hooks, (one) => `${one.flake}/${one.provider}`),
      (one) => `${one.flake}/${one.provider}`,
    ),
    builders: alive(
      'builder',
      put(
        before.builders,
        declared.builders.map(({ name }) => ({ name, active: true })),
        ({ name }) => name,
      ),
      ({ name }) => name,
    ),
    systems: alive(
      'system',
      put(
        before.systems,
        plan.systems.map((one) => ({ ...one, active: true })),
        ({ hostname }) => hostname,
      ),
      ({ hostname }) => hostname,
    ),
    keys: [...kept, ...keys],
  }
}

const documents: fc.Arbitrary<FleetDocument> = fc
  .record({
    flakes: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('one', 'two', 'three'),
        repo_url: fc.constantFrom(
          'https://git.example.com/a/b',
          'github:o/r',
          'git+ssh://git@git.example.com/x/y?ref=trunk',
        ),
        auto_poll: fc.boolean(),
      }),
      { selector: ({ name }) => name },
    ),
    hosts: fc.uniqueArray(
      fc.record(
        {
          n: fc.nat(8),
          environment: fc.constantFrom('production', 'staging'),
          follows: fc.nat(3),
          configuration: fc.constantFrom('web', 'db'),
          desired_target: fc.constantFrom(null, `/nix/store/${'a'.repeat(32)}-system`),
          policy: fc.constantFrom('manual', 'auto_latest', 'pinned'),
          keyed: fc.boolean(),
        },
        { requiredKeys: ['n', 'keyed'] },
      ),
      { selector: ({ n }) => n },
    ),
    hooked: fc.boolean(),
    builders: fc.uniqueArray(fc.nat(2)),
  })
  .map(({ flakes, hosts, hooked, builders }) =>
    fleetDocument.parse({
      environments: [{ name: 'production', risk_profile: 'HIGH' }],
      flakes,
      hooks: hooked
        ? flakes.map(({ name }) => ({ flake: name, provider: 'github', secret: 'sixteen bytes and more' }))
        : [],
      builders: builders.map((n) => ({ name: `b-${n}`, public_key: KEYS[n + 9] })),
      systems: hosts.map(({ n, environment, follows, configuration, desired_target, policy, keyed }) => {
        const flake = follows === undefined ? undefined : flakes[follows]?.name
        return {
          hostname: `host-${n}`,
          ...(environment === undefined ? {} : { environment }),
          ...(flake === undefined ? {} : { flake_name: flake }),
          ...(flake === undefined || configuration === undefined ? {} : { configuration }),
          ...(desired_target === undefined ? {} : { desired_target }),
          ...(policy === undefined ? {} : { deployment_policy: policy }),
          ...(keyed ? { public_key: KEYS[n] } : {}),
        }
      }),
    }),
  )

test('whatever was registered before, a declaration that was applied changes nothing when it is applied again', () => {
  fc.assert(
    fc.property(documents, documents, fc.boolean(), (first, second, prune) => {
      const one = carriedOut(planned(first, NOTHING), first, NOTHING)
      const plan = planned(second, one, prune)
      const two = carriedOut(plan, second, one)
      const again = planned(second, two, prune)
      expect(again.changes.filter(({ action }) => action !== 'keep')).toEqual([])
      expect(changesSomething(again)).toBe(false)
    }),
    RUNS,
  )
})

test('with prune, what is active afterwards is exactly what is declared', () => {
  fc.assert(
    fc.property(documents, documents, (first, second) => {
      const one = carriedOut(planned(first, NOTHING), first, NOTHING)
      const plan = planned(second, one, true)
      const two = carriedOut(plan, second, one)
      const active = (items: readonly { active: boolean; name?: string; hostname?: string }[]): string[] =>
        items
          .filter((item) => item.active)
          .map((item) => item.name ?? item.hostname ?? '')
          .sort()
      expect(plan.undeclared).toEqual([])
      expect(active(two.systems)).toEqual(second.systems.map(({ hostname }) => hostname).sort())
      expect(active(two.flakes)).toEqual(second.flakes.map(({ name }) => name).sort())
      expect(active(two.builders)).toEqual(second.builders.map(({ name }) => name).sort())
      for (const system of second.systems) {
        const found = two.systems.find(({ hostname }) => hostname === system.hostname)
        if (system.desired_target !== undefined) expect(found?.desiredTarget).toBe(system.desired_target)
        if (typeof system.flake_name === 'string') expect(found?.flake).toBe(system.flake_name)
      }
    }),
    RUNS,
  )
})

test('without prune nothing that is registered is taken away', () => {
  fc.assert(
    fc.property(documents, documents, (first, second) => {
      const one = carriedOut(planned(first, NOTHING), first, NOTHING)
      const plan = planned(second, one)
      expect(plan.changes.filter(({ action }) => action === 'deactivate')).toEqual([])
      const left = first.systems.filter(
        ({ hostname }) => !second.systems.some((other) => other.hostname === hostname),
      )
      expect(
        plan.undeclared
          .filter(({ kind }) => kind === 'system')
          .map(({ name }) => name)
          .sort(),
      ).toEqual(left.map(({ hostname }) => hostname).sort())
    }),
    RUNS,
  )
})

test('a secret never stands in a plan', () => {
  const declared = fleetDocument.parse({
    flakes: [{ name: 'f', repo_url: 'github:o/r' }],
    hooks: [{ flake: 'f', provider: 'github', secret: 'the new secret of the hook' }],
  })
  const before = carriedOut(planned(declared, NOTHING), declared, NOTHING)
  const changed = {
    ...before,
    hooks: before.hooks.map((hook) => ({ ...hook, secret: 'the old secret of the hook' })),
  }
  const plan = planFleet(declared, changed, OPTIONS)
  expect(JSON.stringify(plan)).toContain('(sealed)')
  expect(JSON.stringify(plan)).not.toContain('secret of the hook')
})
