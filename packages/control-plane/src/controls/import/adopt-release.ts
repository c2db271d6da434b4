import type { CatalogueRule, RuleWords } from '@crystal-forge/protocol'
import type { Catalogue } from '../catalogue.ts'
import type { Benchmark, BenchmarkRule } from './read-xccdf.ts'

export type AdoptedRelease = {
  readonly release: string
  /** The release that it is compared with. */
  readonly before: string
  readonly added: readonly string[]
  readonly removed: readonly string[]
  /** What differs, by rule: `title`, `discussion`, `check`, `fix`, `severity`, `cci`, `srg`. Revised ids alone are no change. */
  readonly changed: readonly { readonly rule: string; readonly parts: readonly string[] }[]
  readonly unchanged: number
  /** Files below `catalogue/`. New rules come without `assess`: until somebody judges them, the catalogue does not pass. */
  readonly files: ReadonlyMap<string, string>
}

export type AdoptRelease =
  | { readonly ok: true; readonly adopted: AdoptedRelease }
  | { readonly ok: false; readonly fault: string }

/** The files of a catalogue that knows one more release of its benchmark, and what that release changes. Pure. */
export function adoptRelease(catalogue: Catalogue, benchmark: Benchmark, folder = 'anix'): AdoptRelease {
  const known = catalogue.benchmark
  if (benchmark.id !== known.id)
    return no(`the benchmark is ${JSON.stringify(benchmark.id)}; this catalogue is of ${known.id}`)
  if (known.releases.some(({ id }) => id === benchmark.release))
    return no(`${benchmark.release} is in the catalogue already`)
  if (!/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(benchmark.date)) return no('the benchmark names no date')
  const files = new Map<string, string>()
  const added: string[] = []
  const changed: { rule: string; parts: string[] }[] = []
  for (const rule of benchmark.rules) {
    const old = catalogue.rules.get(rule.id)
    files.set(`${folder}/rules/${rule.id}.json`, fileOf(rule, old, benchmark.release))
    const before = old?.releases[known.current]
    if (old === undefined || typeof before !== 'object') added.push(rule.id)
    else {
      const parts = differences(rule, old, before)
      if (parts.length > 0) changed.push({ rule: rule.id, parts })
    }
  }
  const named = new Set(benchmark.rules.map(({ id }) => id))
  const removed = [...catalogue.rules.values()].filter(
    (rule) => typeof rule.releases[known.current] === 'object' && !named.has(rule.id),
  )
  for (const rule of removed)
    files.set(
      `${folder}/rules/${rule.id}.json`,
      json({ ...rule, releases: { ...rule.releases, [benchmark.release]: 'removed' } }),
    )
  files.set(`${folder}/benchmark.json`, benchmarkFile(catalogue, benchmark))
  return {
    ok: true,
    adopted: {
      release: benchmark.release,
      before: known.current,
      added: added.sort(byText),
      removed: removed.map(({ id }) => id).sort(byText),
      changed: changed.sort((one, other) => byText(one.rule, other.rule)),
      unchanged: benchmark.rules.length - added.length - changed.length,
      files,
    },
  }
}

/** A rule that is known keeps our judgement; a new one has none. */
function fileOf(rule: BenchmarkRule, old: CatalogueRule | undefined, release: string): string {
  if (old !== undefined) return json({ ...old, releases: { ...old.releases, [release]: rule.words } })
  const { id, stigId, severity, srg, cci, words } = rule
  return json({
    id,
    stigId,
    severity,
    srg,
    cci,
    applicability: [],
    params: [],
    deviations: [],
    releases: { [release]: words },
  })
}

function differences(rule: BenchmarkRule, old: CatalogueRule, before: RuleWords): string[] {
  const texts = (['title', 'discussion', 'check', 'fix'] as const).filter(
    (part) => fold(rule.words[part]) !== fold(before[part]),
  )
  const lists = (['cci', 'srg'] as const).filter(
    (part) => [...rule[part]].sort(byText).join() !== [...old[part]].sort(byText).join(),
  )
  return [...texts, ...(rule.severity === old.severity ? [] : ['severity']), ...lists]
}

function benchmarkFile({ benchmark: known }: Catalogue, benchmark: Benchmark): string {
  const release = {
    id: benchmark.release,
    date: benchmark.date,
    rules: benchmark.rules.length,
    source: `XCCDF of ${benchmark.title} ${benchmark.release}`,
    verbatim: true,
  }
  return json({ ...known, releases: [...known.releases, release] })
}

function fold(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

const byText = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)
const no = (fault: string): AdoptRelease => ({ ok: false, fault })
