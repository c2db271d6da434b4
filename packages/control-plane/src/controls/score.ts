import type { ControlResult, ControlState } from './join.ts'

export type Severity = 'high' | 'medium' | 'low'

/** A score and what it must never be shown without. Shares are of applicable rules; null where none applies. */
export type Score = {
  readonly passedWeight: number
  readonly applicableWeight: number
  /** Passed weight by applicable weight, from 0 to 1. */
  readonly score: number | null
  /** Applicable rules whose host evidence is fresh. */
  readonly freshRules: number
  readonly applicableRules: number
  readonly coverage: number | null
  readonly acceptedRiskRules: number
  readonly acceptedRisk: number | null
  readonly openCatI: number
  readonly contradictions: number
  /** When the oldest evidence that counts was collected. */
  readonly oldestEvidenceAt: Date | null
  readonly states: Readonly<Record<ControlState, number>>
}

export type Weighed = { readonly severity: Severity; readonly result: ControlResult }

/** Of one host or of many: weights are summed, scores are never averaged. What is not reviewed counts against. */
export function scoreOf(controls: readonly Weighed[]): Score {
  const applicable = controls.filter(({ result }) => result.state !== 'not_applicable')
  const passed = applicable.filter(({ result }) => result.state === 'pass')
  const fresh = applicable.filter(({ result }) => FRESH.has(result.observed.kind))
  const accepted = applicable.filter(({ result }) => result.acceptedRisk !== null)
  const applicableWeight = weightOf(applicable)
  const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole)
  const count = (state: ControlState): number =>
    controls.filter(({ result }) => result.state === state).length
  return {
    passedWeight: weightOf(passed),
    applicableWeight,
    score: share(weightOf(passed), applicableWeight),
    freshRules: fresh.length,
    applicableRules: applicable.length,
    coverage: share(fresh.length, applicable.length),
    acceptedRiskRules: accepted.length,
    acceptedRisk: share(accepted.length, applicable.length),
    openCatI: applicable.filter(
      ({ severity, result }) =>
        severity === 'high' && (result.state === 'open' || result.state === 'contradiction'),
    ).length,
    contradictions: count('contradiction'),
    oldestEvidenceAt: oldest(controls),
    states: {
      pass: count('pass'),
      open: count('open'),
      contradiction: count('contradiction'),
      not_applicable: count('not_applicable'),
      not_reviewed: count('not_reviewed'),
    },
  }
}

function weightOf(controls: readonly Weighed[]): number {
  return controls.reduce((sum, { severity }) => sum + WEIGHTS[severity], 0)
}

function oldest(controls: readonly Weighed[]): Date | null {
  const times = controls.flatMap(({ result }) => result.observed.oldestAt?.getTime() ?? [])
  return times.length === 0 ? null : new Date(Math.min(...times))
}

const WEIGHTS: Readonly<Record<Severity, number>> = { high: 10, medium: 4, low: 1 }
const FRESH: ReadonlySet<string> = new Set(['agrees', 'disagrees'])
