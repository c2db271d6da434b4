import type { CatalogueRule, ExpectedOption, ReportedRule, RuleState } from '@crystal-forge/protocol'
import { alternativesOf } from './catalogue.ts'
import type { EvaluationEvidence } from './evidence.ts'
import { judge, type Verdict } from './judge.ts'

/** What the configuration says of a rule; `unknown` when no evaluation counts. */
export type Configured = {
  readonly state: RuleState | 'unknown'
  readonly because: string
  /** What the evaluator said and its own values do not bear out: to be reported, never resolved silently. */
  readonly defect: string | null
  readonly evaluation: string | null
}

/**
 * The state of a rule in the configuration that a host runs. What the evaluator found is judged again with the expectations
 * of the catalogue; where that differs from the state that was reported, the worse of the two counts.
 */
export function judgeConfiguration(
  rule: CatalogueRule,
  release: string,
  evaluation: EvaluationEvidence | null,
): Configured {
  if (evaluation === null)
    return configured('unknown', 'no evaluation yields the system that runs', null, null)
  const { report, id } = evaluation
  if (report.release !== release)
    return configured('unknown', `the configuration follows ${report.release}, not ${release}`, null, id)
  const reported = report.rules[rule.id]
  if (reported === undefined)
    return configured('unknown', 'the report of the evaluation does not name the rule', null, id)
  const { state } = reported
  if (state === 'not-applicable') return judgeFact(rule, reported, id)
  if (rule.assess.config.mode === 'none') return configured('manual', WORDS.manual, null, id)
  const met = judgeExpectations(rule, release, reported)
  if (met.kind === 'missing' && state === 'active') return configured('unknown', met.because, null, id)
  if (met.kind === 'unmet' && state === 'active')
    return configured('inactive', met.because, `the evaluator says active, but: ${met.because}`, id)
  const defect =
    state === 'inactive' && met.kind === 'met'
      ? 'the evaluator says inactive, but its values satisfy every expectation'
      : null
  return configured(state, met.kind === 'met' ? WORDS[state] : met.because, defect, id)
}

function judgeFact(rule: CatalogueRule, reported: ReportedRule, evaluation: string): Configured {
  const { fact } = reported
  const known = rule.applicability.find((entry) => showOption(entry.fact) === fact?.path)
  const holds =
    known !== undefined &&
    judge({ op: known.op, actual: fact?.value, expected: known.value, arg: undefined, normalise: [] })
      .kind === 'true'
  if (known !== undefined && holds) return configured('not-applicable', known.because, null, evaluation)
  const defect = `the evaluator says not applicable, but ${fact?.path ?? 'no fact'} does not decide that`
  return configured('inactive', defect, defect, evaluation)
}

type Met =
  | { readonly kind: 'met' }
  | { readonly kind: 'unmet'; readonly because: string }
  /** An evaluation with another catalogue did not look at what this one asks. */
  | { readonly kind: 'missing'; readonly because: string }

/** Whether the reported values satisfy every expectation of the catalogue; the first that they do not satisfy decides. */
function judgeExpectations(rule: CatalogueRule, release: string, reported: ReportedRule): Met {
  const expectations = rule.assess.config.expect.filter((one) => one.releases?.includes(release) ?? true)
  let missing: Met | null = null
  for (const [at, expectation] of expectations.entries()) {
    const pair = findPair(alternativesOf(expectation), reported, at)
    if (pair === null) {
      missing ??= { kind: 'missing', because: `expectation ${at + 1} of the rule was not evaluated` }
      continue
    }
    const option = showPath(pair.asked)
    const verdict = judgePair(pair.asked, reported, pair.at)
    if (verdict.kind === 'unknown') return { kind: 'unmet', because: `${option}: ${verdict.because}` }
    if (verdict.kind === 'false')
      return { kind: 'unmet', because: `${option} is ${short(reported.actual[pair.at]?.value)}` }
  }
  return missing ?? { kind: 'met' }
}

/**
 * Where the report has the value that an expectation asks for: in its own place, or wherever the same option was read in the
 * same way.
 */
function findPair(
  alternatives: readonly ExpectedOption[],
  reported: ReportedRule,
  at: number,
): { readonly asked: ExpectedOption; readonly at: number } | null {
  const places = [at, ...[...reported.expected.keys()].filter((place) => place !== at)]
  for (const place of places) {
    const expected = reported.expected[place]
    const asked = alternatives.find(
      (one) => showPath(one) === expected?.option && one.op === expected.op && one.arg === expected.arg,
    )
    if (asked !== undefined) return { asked, at: place }
  }
  return null
}

function judgePair(chosen: ExpectedOption, reported: ReportedRule, at: number): Verdict {
  const found = reported.actual[at]
  if (found === undefined) return { kind: 'unknown', because: 'no value is reported', missing: false }
  if (found.verdict === 'unsupported')
    return { kind: 'unknown', because: found.because ?? WORDS.unsupported, missing: false }
  // A parameter of the site was resolved by the evaluator; every other expected value is the catalogue's.
  const named = JSON.stringify(chosen.value ?? null).includes('{"param":')
  const expected = named ? reported.expected[at]?.value : chosen.value
  return judge({
    op: chosen.op,
    actual: found.value,
    expected,
    arg: chosen.arg,
    normalise: chosen.normalise ?? [],
  })
}

function showPath({ option, key = [] }: ExpectedOption): string {
  return showOption([...option, ...key])
}

/** As `lib.showOption` writes it: what is no identifier is quoted. */
function showOption(path: readonly string[]): string {
  return path
    .map((part) => (part === '*' || /^[A-Za-z_][A-Za-z0-9_'-]*$/.test(part) ? part : JSON.stringify(part)))
    .join('.')
}

function configured(
  state: Configured['state'],
  because: string,
  defect: string | null,
  evaluation: string | null,
): Configured {
  return { state, because, defect, evaluation }
}

function short(value: unknown): string {
  const text = value === undefined ? 'not set' : JSON.stringify(value)
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

const WORDS: Readonly<Record<RuleState, string>> = {
  active: 'the configuration satisfies every expectation',
  inactive: 'the configuration does not satisfy the rule',
  justified: 'the configuration leaves the rule out and says why',
  'not-applicable': 'the rule does not apply',
  unsupported: 'no option of this nixpkgs decides the rule',
  manual: 'the configuration cannot decide the rule',
}
