import { assess, type HostEvidence, type KnownWaiver } from '../assess.ts'
import type { Catalogue } from '../catalogue.ts'
import { type Flip, flipsBetween } from '../changes.ts'
import type { Benchmark } from './read-xccdf.ts'

type Fleet = {
  readonly at: Date
  readonly hosts: readonly HostEvidence[]
  readonly waivers: readonly KnownWaiver[]
}

/**
 * Which results of hosts a new release of the benchmark flips: what they are now, against what they would be if the
 * catalogue had the release and the configurations of these hosts followed it. A rule that is new in the release has no
 * result until somebody has judged it, so it is not among them; one that the release drops has none afterwards.
 */
export function releaseFlips(
  catalogue: Catalogue,
  benchmark: Benchmark,
  { at, hosts, waivers }: Fleet,
): Flip[] {
  const { current } = catalogue.benchmark
  const before = assess(catalogue, { at, release: current, hosts, waivers })
  const after = assess(withRelease(catalogue, benchmark), {
    at,
    release: benchmark.release,
    hosts: hosts.map((host) => following(host, current, benchmark.release)),
    waivers,
  })
  return flipsBetween(before, after)
}

/** The catalogue with one release more, which has the judgement of the rules that were known before. */
function withRelease(catalogue: Catalogue, benchmark: Benchmark): Catalogue {
  const words = new Map(benchmark.rules.map((rule) => [rule.id, rule.words]))
  const { release: id, date } = benchmark
  const rules = [...catalogue.rules.values()].map(
    (rule) =>
      [rule.id, { ...rule, releases: { ...rule.releases, [id]: words.get(rule.id) ?? 'removed' } }] as const,
  )
  const release = { id, date, rules: benchmark.rules.length, source: 'an import', verbatim: true }
  const releases = [...catalogue.benchmark.releases, release]
  return { ...catalogue, rules: new Map(rules), benchmark: { ...catalogue.benchmark, releases } }
}

function following(host: HostEvidence, before: string, after: string): HostEvidence {
  const { evaluation } = host
  if (evaluation === null || evaluation.report.release !== before) return host
  return { ...host, evaluation: { ...evaluation, report: { ...evaluation.report, release: after } } }
}
