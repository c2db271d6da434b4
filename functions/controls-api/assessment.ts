import {
  type AssessedHost,
  type AssessmentSnapshot,
  assess,
  type Catalogue,
  type ControlResult,
} from '@crystal-forge/control-plane'
import { type Database, type HostChoice, hostEvidence, knownWaivers } from '@crystal-forge/postgres'
import { instant } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import type { Context } from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'

/** Parameters of every question about controls. */
export const AS_OF = {
  /** A date means its end in UTC. */
  as_of: filter(
    z.union(
      [
        instant.transform((text) => new Date(text)),
        z.iso.date().transform((day) => new Date(`${day}T23:59:59.999Z`)),
      ],
      { error: 'expected a date such as 2026-11-24, or a time with its zone such as 2026-11-24T12:00:00Z' },
    ),
  ),
  release: filter(z.string().regex(/^V[0-9]+R[0-9]+$/, 'expected a release such as V1R2')),
}
type AsOf = { readonly as_of: Date | null; readonly release: string | null }

export type Question = { readonly at: Date; readonly release: string }

/** A time that has not come has no evidence, and a release that the catalogue does not have no rules. */
export function readQuestion(
  { now }: Context,
  catalogue: Catalogue,
  { as_of: asOf, release }: AsOf,
): { readonly ok: true; readonly question: Question } | { readonly ok: false; readonly reply: Reply } {
  const present = now()
  if (asOf !== null && asOf.getTime() > present.getTime() + 86_400_000)
    return no(`as_of is ${asOf.toISOString()}, which has not come: ask about the past`)
  const { benchmark } = catalogue
  const known = benchmark.releases.map(({ id }) => id)
  if (release !== null && !known.includes(release))
    return no(`release is "${release}": the catalogue has ${known.join(', ')}`)
  // The rest of today is as unknown as tomorrow.
  const at = asOf === null || asOf > present ? present : asOf
  return { ok: true, question: { at, release: release ?? benchmark.current } }
}

/** What evidence says of some hosts at a time. */
export async function assessHosts(
  database: Database,
  catalogue: Catalogue,
  { at, release, choice }: Question & { readonly choice: HostChoice },
): Promise<AssessmentSnapshot> {
  const waivers = await knownWaivers(database, at)
  return assess(catalogue, { at, release, hosts: await hostEvidence(database, choice, at), waivers })
}

export function controlItem(host: AssessedHost, result: ControlResult): Record<string, unknown> {
  const { configured, observed } = result
  return {
    system: host.system,
    hostname: host.hostname,
    rule: result.rule,
    state: result.state,
    reason: result.reason,
    because: result.because,
    accepted_risk:
      result.acceptedRisk === null
        ? null
        : { waiver: result.acceptedRisk.waiver, expires_at: result.acceptedRisk.expiresAt },
    configuration: { state: configured.state, because: configured.because, defect: configured.defect },
    host: {
      evidence: observed.kind,
      because: observed.because,
      collected_at: observed.oldestAt,
      fresh_until: observed.freshUntil,
    },
    person: result.attested,
    evidence: result.evidence,
  }
}

export function scoreItem(score: AssessedHost['score']): Record<string, unknown> {
  return {
    score: score.score,
    passed_weight: score.passedWeight,
    applicable_weight: score.applicableWeight,
    coverage: score.coverage,
    fresh_rules: score.freshRules,
    applicable_rules: score.applicableRules,
    accepted_risk: score.acceptedRisk,
    accepted_risk_rules: score.acceptedRiskRules,
    open_cat_i: score.openCatI,
    contradictions: score.contradictions,
    oldest_evidence_at: score.oldestEvidenceAt,
    states: score.states,
  }
}

function no(detail: string): { readonly ok: false; readonly reply: Reply } {
  return { ok: false, reply: problem(400, 'invalid_parameter', detail) }
}
