import { endOf, type FilterRule, limitedPorts } from './packet-filter.ts'

/** What `iptables -S` says: whether anything is set at all, and what comes of a packet that no rule names. */
export type RuleSet = {
  readonly empty: boolean
  readonly refusesByDefault: boolean
  readonly rateLimitedPorts: readonly string[]
}

export function readIptables(output: string): RuleSet {
  const chains = new Map<string, FilterRule[]>()
  const policies = new Map<string, string>()
  for (const line of output.split('\n')) {
    const words = wordsOf(line)
    const [what, chain = '', policy] = words
    if (what === '-P' && policy !== undefined) policies.set(chain, policy)
    if (what === '-A') chains.set(chain, [...(chains.get(chain) ?? []), ruleOf(words.slice(2))])
  }
  const end = endOf(chains, 'INPUT')
  return {
    empty: chains.size === 0 && [...policies.values()].every((policy) => policy === 'ACCEPT'),
    refusesByDefault: end === 'refuse' || (end === 'goes-on' && policies.get('INPUT') === 'DROP'),
    rateLimitedPorts: limitedPorts(chains),
  }
}

function ruleOf(words: readonly string[]): FilterRule {
  const at = words.findIndex((word) => word === '-j' || word === '-g')
  const target = at < 0 ? undefined : words[at + 1]
  const conditions = at < 0 ? words : words.slice(0, at)
  return {
    unconditional: conditions.length === 0,
    action: actionOf(target),
    ports: portsOf(conditions),
    limits: conditions.some((word, position) => conditions[position - 1] === '-m' && LIMITS.has(word)),
  }
}

function actionOf(target: string | undefined): FilterRule['action'] {
  if (target === 'ACCEPT') return { kind: 'accept' }
  if (target === 'DROP' || target === 'REJECT') return { kind: 'refuse' }
  // Targets such as LOG let the packet go on; only chains are in lower case or are not known to iptables.
  return target === undefined || EXTENSIONS.has(target) || target === 'RETURN'
    ? { kind: 'none' }
    : { kind: 'jump', chain: target }
}

function portsOf(conditions: readonly string[]): readonly string[] {
  const tcp = conditions.some((word, at) => conditions[at - 1] === '-p' && word === 'tcp')
  if (!tcp) return []
  const named = conditions.flatMap((word, at) =>
    /^--dports?$/.test(conditions[at - 1] ?? '') ? word.split(',') : [],
  )
  return named.filter((port) => /^[0-9]{1,5}(:[0-9]{1,5})?$/.test(port))
}

/** Words are separated by spaces; a text in double quotes is one. */
function wordsOf(line: string): readonly string[] {
  return Array.from(line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g), ([word]) => word)
}

const LIMITS: ReadonlySet<string> = new Set(['hashlimit', 'limit', 'recent', 'connlimit'])
const EXTENSIONS: ReadonlySet<string> = new Set([
  'LOG',
  'NFLOG',
  'MARK',
  'CONNMARK',
  'TCPMSS',
  'NOTRACK',
  'CT',
  'AUDIT',
  'TRACE',
])
