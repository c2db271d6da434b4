import type { CatalogueRule } from '@crystal-forge/protocol'
import {
  type EvaluationEvidence,
  type EvidencePolicy,
  type HumanEvidence,
  isSiteSpecific,
  type RunningSystem,
  type RuntimeEvidence,
} from './evidence.ts'
import { type Configured, judgeConfiguration } from './judge-configuration.ts'
import { judgeRuntime, type Observed } from './judge-runtime.ts'
import { isSamePerson } from './person.ts'
import type { WaiverInForce } from './waiver.ts'

/** `contradiction`: two sources that should agree do not. It is open, and says more than open. */
export const CONTROL_STATES = ['pass', 'open', 'contradiction', 'not_applicable', 'not_reviewed'] as const
export type ControlState = (typeof CONTROL_STATES)[number]

export type ControlReason =
  | 'proven'
  | 'undeclared'
  | 'drift'
  | 'reboot_pending'
  | 'unproven'
  | 'not_met'
  | 'not_known'
  | 'justified'
  | 'not_applicable'
  | 'fact_contradicted'
  | 'person_needed'
  | 'person_refutes'

export type ControlResult = {
  readonly rule: string
  readonly state: ControlState
  readonly reason: ControlReason
  /** One sentence that names what decided. */
  readonly because: string
  readonly configured: Configured
  readonly observed: Observed
  /** What a person says, where a person counts. */
  readonly attested: { readonly evidence: string; readonly holds: boolean; readonly by: string } | null
  /** The approved waiver of an open finding: it changes how the finding is shown, never what it is. */
  readonly acceptedRisk: { readonly waiver: string; readonly expiresAt: Date } | null
  /** Ids of everything that was used: the evaluation, runtime evidence, statements of people. */
  readonly evidence: readonly string[]
}

export type JoinQuestion = {
  readonly rule: CatalogueRule
  readonly release: string
  readonly running: RunningSystem
  /** Any evaluation; it counts only when its toplevel is the running one. */
  readonly evaluation: EvaluationEvidence | null
  readonly runtime: ReadonlyMap<string, RuntimeEvidence>
  readonly people: readonly HumanEvidence[]
  /** Approved waivers of this host that are in force at `asOf`. */
  readonly waivers: readonly WaiverInForce[]
  readonly policy: EvidencePolicy
  readonly asOf: Date
}

/**
 * The result of a rule on a host: the configuration that it runs, what it shows, and what people say. The worst honest
 * answer wins, and what is not proven never passes. Every row of the rule table has a row in join.test.ts.
 */
export function joinControl(question: JoinQuestion): ControlResult {
  const { rule, release, running } = question
  const evaluation = evaluationThatCounts(question)
  const configured = withMismatch(judgeConfiguration(rule, release, evaluation), question)
  const observed = judgeRuntime({ ...question, toplevel: running.current, evaluation })
  const machine = machineOutcome(configured, observed, question)
  const person = newestStatement(question)
  const outcome = withPerson(machine, person, question, evaluation)
  const waiver = outcome.state === 'open' || outcome.state === 'contradiction' ? question.waivers : []
  const [inForce] = waiver
    .filter(({ rules }) => rules.includes(rule.id))
    .sort((one, other) => other.expiresAt.getTime() - one.expiresAt.getTime())
  return {
    rule: rule.id,
    ...outcome,
    configured,
    observed,
    attested:
      person === null
        ? null
        : { evidence: person.id, holds: person.holds, by: (person.approver ?? person.author).name },
    acceptedRisk: inForce === undefined ? null : { waiver: inForce.id, expiresAt: inForce.expiresAt },
    evidence: [
      ...(configured.evaluation === null ? [] : [configured.evaluation]),
      ...observed.evidence,
      ...(person === null ? [] : [person.id]),
    ],
  }
}

/** The evaluation yields what runs, and its report is the one that lies in it: three equal values are the proof. */
function evaluationThatCounts({ evaluation, running }: JoinQuestion): EvaluationEvidence | null {
  if (evaluation?.toplevel !== running.current) return null
  return hasAnotherReport({ evaluation, running }) ? null : evaluation
}

function hasAnotherReport({ evaluation, running }: Pick<JoinQuestion, 'evaluation' | 'running'>): boolean {
  return (
    evaluation?.toplevel === running.current &&
    running.reportSha256 !== null &&
    running.reportSha256 !== evaluation.reportSha256
  )
}

function withMismatch(configured: Configured, question: JoinQuestion): Configured {
  if (!hasAnotherReport(question)) return configured
  const because = 'the host holds another report than the evaluation of the system that it runs'
  return { ...configured, because, defect: because }
}

type Outcome = Pick<ControlResult, 'state' | 'reason' | 'because'>

function machineOutcome(configured: Configured, observed: Observed, question: JoinQuestion): Outcome {
  const agrees = observed.kind === 'agrees'
  const disagrees = observed.kind === 'disagrees'
  switch (configured.state) {
    case 'active':
      if (agrees) return outcome('pass', 'proven', 'configured so, and the host shows it')
      if (!disagrees) return outcome('not_reviewed', 'unproven', `configured, unproven: ${observed.because}`)
      return contradiction(observed, question.running)
    case 'not-applicable':
      if (!disagrees) return outcome('not_applicable', 'not_applicable', configured.because)
      return outcome('contradiction', 'fact_contradicted', `${configured.because} But ${observed.because}`)
    case 'justified':
      return outcome('open', 'justified', configured.because)
    case 'inactive':
      if (!agrees) return outcome('open', 'not_met', disagrees ? observed.because : configured.because)
      return undeclared(configured, question)
    case 'unsupported':
    case 'manual':
    case 'unknown':
      if (agrees) return undeclared(configured, question)
      if (disagrees) return outcome('open', 'not_met', observed.because)
      return outcome('not_reviewed', 'not_known', `${configured.because}; ${observed.because}`)
  }
}

function contradiction(observed: Observed, { booted, current }: RunningSystem): Outcome {
  return booted !== null && booted !== current
    ? outcome('contradiction', 'reboot_pending', `${observed.because}; the host booted another system`)
    : outcome('contradiction', 'drift', `configured otherwise: ${observed.because}`)
}

function undeclared(configured: Configured, { policy }: JoinQuestion): Outcome {
  return policy.undeclared === 'open'
    ? outcome('open', 'undeclared', `the host shows it, but ${configured.because}`)
    : outcome('pass', 'undeclared', `the host shows it; ${configured.because}`)
}

/**
 * A statement that counts: the newest one of this rule that has not expired. That a rule does not hold counts as soon as
 * it is said; that it holds counts once a second person accepted it.
 */
function newestStatement({ rule, people, asOf }: JoinQuestion): HumanEvidence | null {
  const days = rule.assess.human.maxAgeDays
  const counts = people.filter(
    (one) =>
      one.rule === rule.id &&
      one.collectedAt <= asOf &&
      asOf < one.expiresAt &&
      (days === undefined || asOf.getTime() < one.collectedAt.getTime() + days * 86_400_000) &&
      (!one.holds || (one.approver !== null && !isSamePerson(one.approver, one.author))),
  )
  const newestFirst = counts.sort((one, other) => other.collectedAt.getTime() - one.collectedAt.getTime())
  return newestFirst[0] ?? null
}

function withPerson(
  machine: Outcome,
  person: HumanEvidence | null,
  { rule }: JoinQuestion,
  evaluation: EvaluationEvidence | null,
): Outcome {
  if (machine.state === 'not_applicable' || machine.state === 'contradiction') return machine
  if (person?.holds === false)
    return outcome(
      'open',
      'person_refutes',
      `${person.author.name} says that it does not hold: ${person.statement}`,
    )
  if (machine.state !== 'pass' || person !== null) return machine
  const { need, prompt = 'a person must attest it' } = rule.assess.human
  const needed = need === 'yes' || (need === 'cond' && isSiteSpecific(rule, evaluation?.report.params))
  return needed ? outcome('not_reviewed', 'person_needed', prompt) : machine
}

function outcome(state: ControlState, reason: ControlReason, because: string): Outcome {
  return { state, reason, because }
}
