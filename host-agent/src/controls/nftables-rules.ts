import { CannotCollect } from './collector.ts'
import type { RuleSet } from './iptables-rules.ts'
import { type Chains, endOf, type FilterRule, limitedPorts } from './packet-filter.ts'

/** What `nft -j list ruleset` says (libnftables-json(5)) about packets to this machine. */
export function readNftables(output: string): RuleSet {
  const chains = new Map<string, FilterRule[]>()
  const inputs: { readonly key: string; readonly drops: boolean }[] = []
  for (const { kind, content } of objectsOf(output)) {
    if (kind === 'chain') {
      const key = keyOf(content, content['name'])
      chains.set(key, chains.get(key) ?? [])
      if (content['hook'] === 'input' && content['type'] === 'filter')
        inputs.push({ key, drops: content['policy'] === 'drop' })
    }
    if (kind === 'rule') {
      const key = keyOf(content, content['chain'])
      chains.set(key, [...(chains.get(key) ?? []), ruleOf(content)])
    }
  }
  return {
    empty: inputs.length === 0,
    // A packet must come through every chain of the hook.
    refusesByDefault: inputs.some(({ key, drops }) => refuses(chains, key, drops)),
    rateLimitedPorts: limitedPorts(chains),
  }
}

function refuses(chains: Chains, key: string, drops: boolean): boolean {
  const end = endOf(chains, key)
  return end === 'refuse' || (end === 'goes-on' && drops)
}

function ruleOf(rule: Record<string, unknown>): FilterRule {
  const statements = Array.isArray(rule['expr']) ? rule['expr'].filter(isObject) : []
  const conditions = statements.filter((one) => !Object.keys(one).every((name) => IS_NO_CONDITION.has(name)))
  return {
    unconditional: conditions.length === 0,
    action: actionOf(rule, statements),
    ports: statements.flatMap(portsOf),
    limits: statements.some(limitsRate),
  }
}

function actionOf(
  rule: Record<string, unknown>,
  statements: readonly Record<string, unknown>[],
): FilterRule['action'] {
  for (const one of statements) {
    if ('accept' in one) return { kind: 'accept' }
    if ('drop' in one || 'reject' in one) return { kind: 'refuse' }
    const jump = one['jump'] ?? one['goto']
    if (isObject(jump)) return { kind: 'jump', chain: keyOf(rule, jump['target']) }
  }
  return { kind: 'none' }
}

function limitsRate(statement: Record<string, unknown>): boolean {
  if ('limit' in statement || 'meter' in statement || 'ct count' in statement) return true
  const set = statement['set']
  return (
    isObject(set) && Array.isArray(set['stmt']) && set['stmt'].some((one) => isObject(one) && 'limit' in one)
  )
}

function portsOf(statement: Record<string, unknown>): readonly string[] {
  const match = statement['match']
  if (!isObject(match) || !isObject(match['left'])) return []
  const payload = match['left']['payload']
  if (!isObject(payload) || payload['protocol'] !== 'tcp' || payload['field'] !== 'dport') return []
  const right = match['right']
  const parts = isObject(right) && Array.isArray(right['set']) ? right['set'] : [right]
  return parts.flatMap((part: unknown) => {
    if (typeof part === 'number') return [String(part)]
    const range = isObject(part) && Array.isArray(part['range']) ? part['range'] : []
    return range.length === 2 ? [range.join(':')] : []
  })
}

function objectsOf(output: string): readonly { kind: string; content: Record<string, unknown> }[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(output)
  } catch {
    throw unreadable()
  }
  if (!isObject(parsed) || !Array.isArray(parsed['nftables'])) throw unreadable()
  return parsed['nftables']
    .filter(isObject)
    .flatMap((one) =>
      Object.entries(one).flatMap(([kind, content]) => (isObject(content) ? [{ kind, content }] : [])),
    )
}

function keyOf(content: Record<string, unknown>, chain: unknown): string {
  return [content['family'], content['table'], chain].map(String).join(' ')
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const unreadable = () => new CannotCollect('unreadable', 'nft printed no list of rules')

const IS_NO_CONDITION: ReadonlySet<string> = new Set([
  'counter',
  'log',
  'accept',
  'drop',
  'reject',
  'jump',
  'goto',
  'comment',
])
