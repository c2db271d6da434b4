import type { AssessmentSnapshot, KnownWaiver } from '../assess.ts'
import type { Catalogue } from '../catalogue.ts'
import { dueOf } from './due-date.ts'
import { isAccepted, type OpenRule, openRules } from './oscal.ts'
import { bareRuleId, waiverOf } from './words.ts'

/**
 * The POA&M sheet of eMASS as CSV: heading in row 7, data from row 8, the first column stays empty. An item that goes on has
 * a date and a milestone; an accepted risk has comments and neither of them.
 */
export function writeEmass(snapshot: AssessmentSnapshot, catalogue: Catalogue): string {
  const title = [
    [],
    ['', 'Plan of Action and Milestones'],
    ['', 'Date Exported:', dateOf(snapshot.at)],
    ['', 'Benchmark:', `${snapshot.benchmark.title} ${snapshot.release.id}`],
    ['', 'Hosts:', snapshot.hosts.map(({ hostname }) => hostname).join('; ')],
    [],
  ]
  const rows = openRules(snapshot).map((open, at) => rowOf(snapshot, catalogue, { open, number: at + 1 }))
  return [...title, ['', ...HEADING], ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('')
}

function rowOf(
  snapshot: AssessmentSnapshot,
  catalogue: Catalogue,
  { open, number }: { readonly open: OpenRule; readonly number: number },
): string[] {
  const { rule, findings } = open
  const accepted = isAccepted(open)
  const waiver = findings.map(({ result }) => waiverOf(snapshot, result)).find((one) => one !== null) ?? null
  const due = dateOf(dueOf(snapshot, rule))
  const hosts = findings.map(({ host }) => host.hostname).join('; ')
  const severity = SEVERITY[rule.severity]
  return [
    '',
    String(number),
    `${rule.id}: ${rule.words.title}`,
    controlOf(catalogue, rule.cci),
    waiver?.owner ?? '',
    `${bareRuleId(rule.words.ruleId)}_rule`,
    '',
    accepted ? '' : due,
    accepted ? '' : milestonesOf(waiver, rule.id, due),
    '',
    `${snapshot.benchmark.title} ${snapshot.release.id}: ${rule.id}`,
    accepted ? 'Risk Accepted' : 'Ongoing',
    commentsOf(accepted ? waiver : null, hosts),
    severity,
    waiver?.compensating ?? '',
    severity,
    '',
    '',
    '',
    '',
    '',
    `Bring ${rule.stigId} into the configuration and show it on every host.`,
  ]
}

function milestonesOf(waiver: KnownWaiver | null, rule: string, due: string): string {
  const planned = waiver?.milestones ?? []
  if (planned.length === 0) return `${rule} holds on every host: ${due}`
  return planned.map(({ text, due: day }) => `${text}: ${dateOf(new Date(`${day}T00:00:00Z`))}`).join('; ')
}

function commentsOf(waiver: KnownWaiver | null, hosts: string): string {
  if (waiver === null) return `Open on ${hosts}.`
  return `${waiver.name}, approved by ${waiver.approver ?? ''}, until ${dateOf(waiver.expiresAt)}: ${waiver.justification} Open on ${hosts}.`
}

/** The first control of NIST SP 800-53 that the rule's CCIs name. */
function controlOf({ cci }: Catalogue, ids: readonly string[]): string {
  return ids.map((id) => cci.ccis[id]?.control).find((control) => typeof control === 'string') ?? ''
}

/** `M/DD/YYYY` */
function dateOf(time: Date): string {
  const [year = '', month = '', day = ''] = time.toISOString().slice(0, 10).split('-')
  return `${Number(month)}/${day}/${year}`
}

/** A text that a spreadsheet would take for a formula is marked as text. */
function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const SEVERITY = { high: 'I', medium: 'II', low: 'III' } as const
const HEADING = [
  'POA&M Item ID',
  'Control Vulnerability Description',
  'Security Control Number (NC/NA controls only)',
  'Office/Org',
  'Security Checks',
  'Resources Required',
  'Scheduled Completion Date',
  'Milestone with Completion Dates',
  'Milestone Changes',
  'Source Identifying Vulnerability',
  'Status',
  'Comments',
  'Raw Severity',
  'Mitigations',
  'Severity',
  'Relevance of Threat',
  'Likelihood',
  'Impact',
  'Impact Description',
  'Residual Risk Level',
  'Recommendations',
]
