/** Whether packets that no rule names come through. */
export type ChainEnd = 'accept' | 'refuse' | 'goes-on'
/** A rule as far as it matters here. */
export type FilterRule = {
  /** Applies to every packet. */
  readonly unconditional: boolean
  readonly action:
    | { readonly kind: 'accept' | 'refuse' | 'none' }
    | { readonly kind: 'jump'; readonly chain: string }
  /** TCP ports that it is about. */
  readonly ports: readonly string[]
  /** It is about what comes too often. */
  readonly limits: boolean
}
export type Chains = ReadonlyMap<string, readonly FilterRule[]>

/** What becomes of a packet that only unconditional rules meet. A chain that leads back to itself goes on. */
export function endOf(chains: Chains, name: string, above: readonly string[] = []): ChainEnd {
  if (above.includes(name)) return 'goes-on'
  for (const rule of chains.get(name) ?? []) {
    if (!rule.unconditional || rule.action.kind === 'none') continue
    if (rule.action.kind !== 'jump') return rule.action.kind
    const end = endOf(chains, rule.action.chain, [...above, name])
    if (end !== 'goes-on') return end
  }
  return 'goes-on'
}

/** Ports of the rules that limit, unless the same chain has accepted them before. */
export function limitedPorts(chains: Chains): readonly string[] {
  const limited = new Set<string>()
  for (const rules of chains.values()) {
    const accepted = new Set<string>()
    for (const { ports, limits, action } of rules) {
      const accepts =
        action.kind === 'jump' ? endOf(chains, action.chain) === 'accept' : action.kind === 'accept'
      for (const port of ports) {
        if (limits && !accepted.has(port)) limited.add(port)
        if (!limits && accepts) accepted.add(port)
      }
    }
  }
  return [...limited].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
}
