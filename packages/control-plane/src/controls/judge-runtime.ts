import { type CatalogueRule, canonicalJson, type RuntimeCheck } from '@crystal-forge/protocol'
import {
  checksOf,
  type EvaluationEvidence,
  type EvidencePolicy,
  type RuntimeEvidence,
  resolveParams,
} from './evidence.ts'
import type { Json } from './json-value.ts'
import { judge, type Verdict } from './judge.ts'

/** What the host itself shows of a rule. Only `agrees` proves anything. */
export type Observed = {
  readonly kind: 'agrees' | 'disagrees' | 'stale' | 'missing' | 'unknown'
  readonly because: string
  /** Ids of the evidence that was fresh enough to be judged. */
  readonly evidence: readonly string[]
  /** When the oldest of it was collected; null without any. */
  readonly oldestAt: Date | null
  /** When the first of it stops to count. */
  readonly freshUntil: Date | null
}

export type RuntimeQuestion = {
  readonly rule: CatalogueRule
  readonly release: string
  /** What runs; what was collected under another system says nothing about this one. */
  readonly toplevel: string
  readonly evaluation: EvaluationEvidence | null
  /** The newest of each collector and its arguments. */
  readonly runtime: ReadonlyMap<string, RuntimeEvidence>
  readonly policy: EvidencePolicy
  readonly asOf: Date
}

/** Every check must be answered by fresh evidence; one that disagrees decides, one without an answer leaves it open. */
export function judgeRuntime(question: RuntimeQuestion): Observed {
  const answers = checksOf(question.rule, question.release).map((check) => answer(question, check))
  const judged = answers.filter((one) => one.evidence !== null)
  const worst = ORDER.map((kind) => answers.find((one) => one.kind === kind)).find((one) => one !== undefined)
  if (worst === undefined)
    return {
      kind: 'missing',
      because: 'the rule has no check in this release',
      evidence: [],
      oldestAt: null,
      freshUntil: null,
    }
  return {
    kind: worst.kind,
    because: worst.because,
    evidence: [...new Set(judged.flatMap(({ evidence }) => (evidence === null ? [] : [evidence.id])))],
    oldestAt: earliest(judged.flatMap(({ evidence }) => (evidence === null ? [] : [evidence.collectedAt]))),
    freshUntil: earliest(judged.flatMap(({ until }) => (until === null ? [] : [until]))),
  }
}

/** The key of a collector with its arguments. */
export function factKey(collector: string, args: Json): string {
  return `${collector} ${canonicalJson(args)}`
}

/** The newest of each, for `RuntimeQuestion.runtime`. */
export function newestFacts(evidence: readonly RuntimeEvidence[]): ReadonlyMap<string, RuntimeEvidence> {
  const newest = new Map<string, RuntimeEvidence>()
  for (const one of evidence) {
    const key = factKey(one.collector, one.args)
    const other = newest.get(key)
    if (other === undefined || other.collectedAt < one.collectedAt) newest.set(key, one)
  }
  return newest
}

type Answer = {
  readonly kind: Observed['kind']
  readonly because: string
  readonly evidence: RuntimeEvidence | null
  readonly until: Date | null
}

function answer(question: RuntimeQuestion, check: RuntimeCheck): Answer {
  const { rule, policy, asOf } = question
  const params = question.evaluation?.report.params
  const args = Object.fromEntries(
    Object.entries(check.args).map(([name, value]) => [name, resolveParams(value, rule, params) ?? null]),
  )
  const found = question.runtime.get(factKey(check.collector, args))
  const nothing = (kind: 'missing' | 'stale', because: string): Answer => ({
    kind,
    because,
    evidence: null,
    until: null,
  })
  if (found === undefined) return nothing('missing', `${check.collector}: the host has sent nothing`)
  if (found.toplevel !== question.toplevel)
    return nothing('stale', `${check.collector}: collected while another system ran`)
  const hours = policy.freshForHours[check.collector] ?? 0
  const until = new Date(found.collectedAt.getTime() + hours * 3_600_000)
  if (until < asOf)
    return nothing(
      'stale',
      `${check.collector}: collected at ${found.collectedAt.toISOString()}, which counts for ${hours} hours`,
    )
  if (found.error !== null)
    return { kind: 'unknown', because: `${check.collector}: ${found.error}`, evidence: found, until }
  const actual = valueAt(found.values, check.field ?? [])
  const resolved = resolveParams(check.value, rule, params)
  const expected = check.op === 'in' ? stillSupported(resolved, asOf) : resolved
  const verdict: Verdict =
    check.value !== undefined && expected === undefined
      ? { kind: 'unknown', because: 'a parameter of the site is not set', missing: false }
      : judge({ op: check.op, actual, expected, arg: check.arg, normalise: check.normalise ?? [] })
  const looked = actual !== undefined || valueAt(found.values, (check.field ?? []).slice(0, -1)) !== undefined
  return { ...inWords(check, actual, verdict, looked), evidence: found, until }
}

/** `25.11 until 2026-06-30` counts to the end of that day. */
function stillSupported(value: Json | undefined, asOf: Date): Json | undefined {
  if (value === undefined || !isList(value)) return value
  return value.flatMap((entry) => {
    const [, name, day] = /^(.+) until ([0-9]{4}-[0-9]{2}-[0-9]{2})$/.exec(String(entry)) ?? []
    if (name === undefined || day === undefined) return [entry]
    return asOf.toISOString().slice(0, 10) <= day ? [name] : []
  })
}

/**
 * What is missing in what the host shows is a finding ("or is missing, or is commented out"), once the host has looked there: an
 * agent that does not know of a part has said nothing about what is in it.
 */
function inWords(
  check: RuntimeCheck,
  actual: Json | undefined,
  verdict: Verdict,
  looked: boolean,
): Pick<Answer, 'kind' | 'because'> {
  const what = [check.collector, ...(check.field ?? [])].join(' ')
  switch (verdict.kind) {
    case 'true':
      return { kind: 'agrees', because: `${what}: as expected` }
    case 'false':
      return { kind: 'disagrees', because: `${what}: the host shows ${short(actual)}` }
    case 'unknown':
      return {
        kind: verdict.missing && looked ? 'disagrees' : 'unknown',
        because: `${what}: ${verdict.because}`,
      }
  }
}

function valueAt(value: Json, field: readonly string[]): Json | undefined {
  let at: Json | undefined = value
  for (const name of field) {
    if (at === undefined || at === null || typeof at !== 'object' || isList(at)) return undefined
    at = Object.hasOwn(at, name) ? at[name] : undefined
  }
  return at
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

function earliest(times: readonly Date[]): Date | null {
  return times.reduce<Date | null>((first, time) => (first === null || time < first ? time : first), null)
}

function short(value: unknown): string {
  const text = value === undefined ? 'nothing' : JSON.stringify(value)
  return text.length > 160 ? `${text.slice(0, 160)}…` : text
}

/** The worst honest answer first. */
const ORDER = ['disagrees', 'unknown', 'stale', 'missing', 'agrees'] as const
