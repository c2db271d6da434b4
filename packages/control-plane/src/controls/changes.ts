import type { CatalogueRule } from '@crystal-forge/protocol'
import type { AssessmentSnapshot } from './assess.ts'
import type { Catalogue } from './catalogue.ts'
import type { EvaluationEvidence } from './evidence.ts'
import type { ControlState } from './join.ts'
import { type Configured, judgeConfiguration } from './judge-configuration.ts'

/** What a rule was and what it is; null where a release does not have it, or where nothing was before. */
export type ConfigurationChange = {
  readonly rule: string
  readonly before: Configured['state'] | null
  readonly after: Configured['state'] | null
  /** One sentence about what decides now. */
  readonly because: string
  /** Files that define the deciding options, as far as the report names them. */
  readonly definedIn: readonly string[]
}

/** What a commit does to the controls of one configuration, in the order of the rules. */
export type ConfigurationChanges = {
  /** Open now, and not before. */
  readonly opened: readonly ConfigurationChange[]
  /** Open before, and satisfied or not applicable now. */
  readonly closed: readonly ConfigurationChange[]
  /** Whatever else is different, such as a rule that no option of the new nixpkgs decides. */
  readonly changed: readonly ConfigurationChange[]
}

/**
 * Holds two evaluations of one configuration against each other, each judged by the release that it follows. Without a
 * former one, everything that is open was opened.
 */
export function configurationChanges(
  catalogue: Catalogue,
  before: EvaluationEvidence | null,
  after: EvaluationEvidence,
): ConfigurationChanges {
  const changes: ConfigurationChange[] = []
  for (const rule of [...catalogue.rules.values()].sort((one, other) => (one.id < other.id ? -1 : 1))) {
    const was = before === null ? null : judged(rule, before)
    const is = judged(rule, after)
    if (was?.state === is?.state) continue
    changes.push({
      rule: rule.id,
      before: was?.state ?? null,
      after: is?.state ?? null,
      because: is?.because ?? `${after.report.release} does not have it`,
      definedIn: after.report.rules[rule.id]?.definedIn ?? [],
    })
  }
  const opened = changes.filter((one) => isOpen(one.after) && !isOpen(one.before))
  const closed = changes.filter((one) => isOpen(one.before) && isMet(one.after))
  const others = changes.filter((one) => !opened.includes(one) && !closed.includes(one))
  return { opened, closed, changed: before === null ? [] : others }
}

function judged(rule: CatalogueRule, evaluation: EvaluationEvidence): Configured | null {
  const { release } = evaluation.report
  return typeof rule.releases[release] === 'object' ? judgeConfiguration(rule, release, evaluation) : null
}

const isOpen = (state: ConfigurationChange['after']): boolean => state === 'inactive' || state === 'justified'
const isMet = (state: ConfigurationChange['after']): boolean =>
  state === 'active' || state === 'not-applicable'

/** A rule on a host whose result differs between two assessments; null where one of them does not have it. */
export type Flip = {
  readonly system: string
  readonly hostname: string
  readonly rule: string
  readonly before: ControlState | null
  readonly after: ControlState | null
}

/** Every result that differs, in the order of hosts and rules. */
export function flipsBetween(before: AssessmentSnapshot, after: AssessmentSnapshot): Flip[] {
  const states = (snapshot: AssessmentSnapshot): Map<string, ReadonlyMap<string, ControlState>> =>
    new Map(
      snapshot.hosts.map(({ system, controls }) => [
        system,
        new Map(controls.map(({ rule, state }) => [rule, state])),
      ]),
    )
  const [was, is] = [states(before), states(after)]
  const hosts = new Map([...before.hosts, ...after.hosts].map(({ system, hostname }) => [system, hostname]))
  return [...hosts]
    .sort(([, one], [, other]) => (one < other ? -1 : 1))
    .flatMap(([system, hostname]) => {
      const [old, now] = [was.get(system), is.get(system)]
      const rules = [...new Set([...(old?.keys() ?? []), ...(now?.keys() ?? [])])].sort()
      return rules.flatMap((rule): Flip[] => {
        const flip = { system, hostname, rule, before: old?.get(rule) ?? null, after: now?.get(rule) ?? null }
        return flip.before === flip.after ? [] : [flip]
      })
    })
}

/** How many results became open, and how many that were open are satisfied or do not apply any more. */
export function countFlips(flips: readonly Flip[]): { readonly opened: number; readonly closed: number } {
  const open = (state: ControlState | null): boolean => state === 'open' || state === 'contradiction'
  return {
    opened: flips.filter(({ before, after }) => open(after) && !open(before)).length,
    closed: flips.filter(
      ({ before, after }) => open(before) && (after === 'pass' || after === 'not_applicable'),
    ).length,
  }
}
