import type { AssessedHost, AssessedRule, AssessmentSnapshot, KnownWaiver } from '../assess.ts'
import type { ControlResult, ControlState } from '../join.ts'

/** A rule of the snapshot together with its result on a host. */
export type Row = { readonly rule: AssessedRule; readonly result: ControlResult }

export function rowsOf(snapshot: AssessmentSnapshot, host: AssessedHost): readonly Row[] {
  const results = new Map(host.controls.map((result) => [result.rule, result]))
  return snapshot.rules.flatMap((rule) => {
    const result = results.get(rule.id)
    return result === undefined ? [] : [{ rule, result }]
  })
}

/** The four words that checklists have. A contradiction is open: a checklist cannot say more. */
export type Status = 'pass' | 'open' | 'not_applicable' | 'not_reviewed'
export const STATUS_OF: Readonly<Record<ControlState, Status>> = {
  pass: 'pass',
  open: 'open',
  contradiction: 'open',
  not_applicable: 'not_applicable',
  not_reviewed: 'not_reviewed',
}

/** What was found and by which evidence, one fact a line. */
export function findingDetails({ result }: Row): string {
  const { configured, observed, attested } = result
  return [
    `result: ${result.state} (${result.reason})`,
    `because: ${result.because}`,
    `configuration: ${configured.state}: ${configured.because}`,
    `host: ${observed.kind}: ${observed.because}`,
    ...(observed.oldestAt === null ? [] : [`collected: ${observed.oldestAt.toISOString()}`]),
    ...(attested === null ? [] : [`person: ${attested.holds ? 'attests' : 'refutes'} (${attested.by})`]),
    ...(configured.defect === null ? [] : [`defect: ${configured.defect}`]),
    `evidence: ${result.evidence.length === 0 ? 'none' : result.evidence.join(' ')}`,
  ]
    .map((line) => line.replace(/[\r\n]+/g, ' '))
    .join('\n')
}

/** The waiver of an open finding in one line of a fixed form: checklists have no field for it. */
export function waiverLine(snapshot: AssessmentSnapshot, { result }: Row): string {
  const waiver = waiverOf(snapshot, result)
  if (waiver === null) return ''
  const justification = waiver.justification.replace(/\s+/g, ' ')
  return `accepted risk: waiver=${waiver.name} type=${waiver.type ?? ''} approver=${waiver.approver ?? ''} expires=${day(waiver.expiresAt)} justification=${justification}`
}

export function waiverOf(snapshot: AssessmentSnapshot, result: ControlResult): KnownWaiver | null {
  const id = result.acceptedRisk?.waiver
  return snapshot.waivers.find((one) => one.id === id) ?? null
}

/** `R2` of `V1R2`, with the date as the publisher writes it: `Release: 2 Benchmark Date: 01 Oct 2025`. */
export function releaseInfo({ release }: AssessmentSnapshot): string {
  const { revision } = versionOf(release.id)
  const [year = '', month = '', date = ''] = release.date.split('-')
  return `Release: ${revision} Benchmark Date: ${date} ${MONTHS[Number(month) - 1] ?? ''} ${year}`
}

export function versionOf(release: string): { readonly version: string; readonly revision: string } {
  const [, version = '', revision = ''] = /^V([0-9]+)R([0-9]+)$/.exec(release) ?? []
  return { version, revision }
}

/** `SV-268078r1130945`, without the suffix that XCCDF needs. */
export function bareRuleId(ruleId: string): string {
  return ruleId.replace(/_rule$/, '')
}

export function day(time: Date): string {
  return time.toISOString().slice(0, 10)
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
