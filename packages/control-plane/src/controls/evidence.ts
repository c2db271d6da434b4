import type { CatalogueRule, CollectorTable, RuntimeCheck, StigReport } from '@crystal-forge/protocol'
import type { Json } from './json-value.ts'
import type { Person } from './person.ts'

/** The evaluation whose toplevel a host runs. Without one, nothing is known of the configuration. */
export type EvaluationEvidence = {
  readonly id: string
  readonly toplevel: string
  readonly evaluatedAt: Date
  readonly report: StigReport
  /** Lower-case hexadecimal SHA-256 of the report as the file in the system's closure: sorted members, no spaces. */
  readonly reportSha256: string
}

/** What one collector saw on a host, as it was sent: values, never verdicts. */
export type RuntimeEvidence = {
  readonly id: string
  /** The system that ran when it was collected. */
  readonly toplevel: string
  readonly collector: string
  readonly args: Json
  readonly values: Json
  /** Why the host has no value; null when it has one. */
  readonly error: string | null
  readonly collectedAt: Date
}

/** What a person says of one rule on one host. */
export type HumanEvidence = {
  readonly id: string
  readonly rule: string
  readonly holds: boolean
  readonly statement: string
  readonly author: Person
  /** Somebody else, who accepted the statement; null while nobody has. */
  readonly approver: Person | null
  readonly collectedAt: Date
  readonly expiresAt: Date
}

/** The paths of a host at the time that is asked about. */
export type RunningSystem = {
  readonly current: string
  readonly booted: string | null
  /** Of the report in the running system, as the host says; null when it has not said or has none. */
  readonly reportSha256: string | null
}

/** What a site decides about evidence. */
export type EvidencePolicy = {
  /** Hours after which what a collector saw proves nothing any more. */
  readonly freshForHours: Readonly<Record<string, number>>
  /** What a rule is that holds on the host although its configuration does not declare it. */
  readonly undeclared: 'pass' | 'open'
}

export function defaultPolicy(collectors: CollectorTable): EvidencePolicy {
  return {
    freshForHours: Object.fromEntries(
      Object.entries(collectors).map(([name, { freshForHours }]) => [name, freshForHours]),
    ),
    undeclared: 'pass',
  }
}

/** The checks that apply in a release. */
export function checksOf(rule: CatalogueRule, release: string): readonly RuntimeCheck[] {
  return rule.assess.runtime.filter((check) => check.releases?.includes(release) ?? true)
}

/** Whether a site answers a rule in its own way: one of the rule's parameters has another value than the catalogue's. */
export function isSiteSpecific(rule: CatalogueRule, params: StigReport['params']): boolean {
  return rule.params.some(
    ({ name, default: usual }) =>
      params?.[name] !== undefined && JSON.stringify(params[name]) !== JSON.stringify(usual),
  )
}

/**
 * `{param: name}` stands for the site's value: that of the report, or the catalogue's default. One that is not set is
 * `undefined`, which satisfies nothing.
 */
export function resolveParams(
  value: Json | undefined,
  rule: CatalogueRule,
  params: StigReport['params'],
): Json | undefined {
  if (value === undefined) return undefined
  if (isList(value)) {
    const parts = value.map((part) => resolveParams(part, rule, params))
    return parts.some((part) => part === undefined) ? undefined : parts.flatMap((part) => [part ?? null])
  }
  if (value === null || typeof value !== 'object') return value
  const { param } = value
  if (typeof param !== 'string' || Object.keys(value).length !== 1) return value
  const given = params?.[param] ?? rule.params.find(({ name }) => name === param)?.default
  return given ?? undefined
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
