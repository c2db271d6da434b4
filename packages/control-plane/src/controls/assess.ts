import type { CatalogueRule, RuleWords } from '@crystal-forge/protocol'
import type { Catalogue } from './catalogue.ts'
import {
  defaultPolicy,
  type EvaluationEvidence,
  type EvidencePolicy,
  type HumanEvidence,
  type RunningSystem,
  type RuntimeEvidence,
} from './evidence.ts'
import { type ControlResult, joinControl } from './join.ts'
import { newestFacts } from './judge-runtime.ts'
import { type Score, scoreOf } from './score.ts'
import { covers, type WaiverScope, type WaiverState, type WaiverType } from './waiver.ts'

/** What is known of a host at a time. */
export type HostEvidence = {
  readonly system: string
  readonly hostname: string
  readonly environment: string | null
  readonly flake: string | null
  readonly configuration: string | null
  /** What it ran; null when it has never reported. */
  readonly running: (RunningSystem & { readonly at: Date }) | null
  readonly address: { readonly ip: string | null; readonly mac: string | null }
  readonly osVersion: string | null
  readonly evaluation: EvaluationEvidence | null
  readonly runtime: readonly RuntimeEvidence[]
  readonly people: readonly HumanEvidence[]
}

export type KnownWaiver = {
  readonly id: string
  readonly name: string
  readonly rules: readonly string[]
  readonly scope: WaiverScope
  readonly state: WaiverState
  readonly type: WaiverType | null
  readonly justification: string
  readonly compensating: string
  readonly author: string
  readonly approver: string | null
  readonly owner: string | null
  readonly milestones: readonly { readonly text: string; readonly due: string }[]
  readonly expiresAt: Date
}

export type AssessedHost = Omit<HostEvidence, 'evaluation' | 'runtime' | 'people'> & {
  readonly evaluation: string | null
  /** Of every rule of the release, in the order of their ids. */
  readonly controls: readonly ControlResult[]
  readonly score: Score
  /** Waivers that the configuration names and that are not in force as it says. */
  readonly claims: readonly { readonly rule: string; readonly waiver: string; readonly problem: string }[]
}

/** Everything an export says. The same snapshot gives the same bytes. */
export type AssessmentSnapshot = {
  readonly at: Date
  readonly benchmark: { readonly id: string; readonly title: string }
  readonly release: { readonly id: string; readonly date: string }
  readonly catalogueSha256: string
  /** In the order of their names. */
  readonly hosts: readonly AssessedHost[]
  readonly rules: readonly AssessedRule[]
  readonly waivers: readonly KnownWaiver[]
  readonly score: Score
}
export type AssessedRule = CatalogueRule & { readonly words: RuleWords }

export type Assessment = {
  readonly at: Date
  /** Absent: the current one. */
  readonly release?: string | undefined
  readonly hosts: readonly HostEvidence[]
  readonly waivers: readonly KnownWaiver[]
  readonly policy?: EvidencePolicy
}

/**
 * Joins what is known of some hosts into the results of every rule.
 * @throws {RangeError} for a release that the catalogue does not have.
 */
export function assess(catalogue: Catalogue, assessment: Assessment): AssessmentSnapshot {
  const wanted = assessment.release ?? catalogue.benchmark.current
  const release = catalogue.benchmark.releases.find(({ id }) => id === wanted)
  if (release === undefined) throw new RangeError(`no release is called ${JSON.stringify(wanted)}`)
  const rules = rulesOf(catalogue, release.id)
  const policy = assessment.policy ?? defaultPolicy(catalogue.collectors)
  const hosts = [...assessment.hosts]
    .sort((one, other) => (one.hostname < other.hostname ? -1 : 1))
    .map((host) => assessHost(host, { ...assessment, rules, release: release.id, policy }))
  const { id, title } = catalogue.benchmark
  return {
    at: assessment.at,
    benchmark: { id, title },
    release: { id: release.id, date: release.date },
    catalogueSha256: catalogue.sha256,
    hosts,
    rules,
    waivers: [...assessment.waivers].sort((one, other) => (one.id < other.id ? -1 : 1)),
    score: scoreOf(hosts.flatMap((host) => weigh(rules, host.controls))),
  }
}

/** The rules of a release, in the order of their ids. */
export function rulesOf(catalogue: Catalogue, release: string): readonly AssessedRule[] {
  return [...catalogue.rules.values()]
    .flatMap((rule) => {
      const words = rule.releases[release]
      return typeof words === 'object' ? [{ ...rule, words }] : []
    })
    .sort((one, other) => (one.id < other.id ? -1 : 1))
}

type Rules = {
  readonly at: Date
  readonly waivers: readonly KnownWaiver[]
  readonly rules: readonly AssessedRule[]
  readonly release: string
  readonly policy: EvidencePolicy
}

function assessHost(host: HostEvidence, { at, waivers, rules, release, policy }: Rules): AssessedHost {
  const { evaluation, runtime, people, ...facts } = host
  const newest = newestFacts(runtime)
  const inForce = waivers.filter(
    (one) => one.state === 'approved' && one.expiresAt > at && covers(one.scope, host),
  )
  const controls = rules.map((rule) =>
    joinControl({
      rule,
      release,
      // A host that never reported runs nothing that evidence could be about.
      running: host.running ?? { current: '', booted: null, reportSha256: null },
      evaluation,
      runtime: newest,
      people,
      waivers: inForce,
      policy,
      asOf: at,
    }),
  )
  return {
    ...facts,
    evaluation: evaluation?.id ?? null,
    controls,
    score: scoreOf(weigh(rules, controls)),
    claims: claimsOf(host, waivers, at),
  }
}

/** A configuration claims; whether a waiver is approved, in scope and in time is known here only. */
function claimsOf(host: HostEvidence, waivers: readonly KnownWaiver[], at: Date): AssessedHost['claims'] {
  return Object.entries(host.evaluation?.report.rules ?? {}).flatMap(([rule, { waiver: claim }]) => {
    if (claim === undefined || claim === null) return []
    const known = waivers.find(({ name, id }) => name === claim.id || id === claim.id)
    const problem = claimProblem(known, {
      rule,
      host,
      at,
      claimed: claim.expires,
      approvedBy: claim.approvedBy,
    })
    return problem === null ? [] : [{ rule, waiver: claim.id, problem }]
  })
}

type Claim = {
  readonly rule: string
  readonly host: HostEvidence
  readonly at: Date
  readonly claimed: string
  readonly approvedBy: string
}

function claimProblem(
  known: KnownWaiver | undefined,
  { rule, host, at, claimed, approvedBy }: Claim,
): string | null {
  if (known === undefined) return 'it is not known here'
  if (known.state !== 'approved') return `it is ${known.state}`
  if (known.expiresAt <= at) return 'it is expired'
  if (!known.rules.includes(rule)) return `it does not name ${rule}`
  if (!covers(known.scope, host)) return `it does not cover ${host.hostname}`
  if (claimed.slice(0, 10) !== known.expiresAt.toISOString().slice(0, 10))
    return `it expires at ${known.expiresAt.toISOString()}, not at ${claimed}`
  return approvedBy === known.approver ? null : `${known.approver ?? 'nobody'} approved it, not ${approvedBy}`
}

function weigh(
  rules: readonly AssessedRule[],
  controls: readonly ControlResult[],
): { severity: CatalogueRule['severity']; result: ControlResult }[] {
  const severities = new Map(rules.map(({ id, severity }) => [id, severity]))
  return controls.map((result) => ({ result, severity: severities.get(result.rule) ?? 'medium' }))
}
