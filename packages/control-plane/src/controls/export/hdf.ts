import type { AssessedHost, AssessmentSnapshot } from '../assess.ts'
import type { Catalogue } from '../catalogue.ts'
import { day, findingDetails, type Row, rowsOf, STATUS_OF, type Status, waiverOf } from './words.ts'

/** Heimdall Data Format (InSpec exec-json) of one host. */
export function writeHdf(snapshot: AssessmentSnapshot, host: AssessedHost, { cci }: Catalogue): string {
  const rows = rowsOf(snapshot, host)
  const document = {
    platform: { name: 'nixos', release: host.osVersion ?? 'unknown', target_id: host.hostname },
    version: '1.0.0',
    statistics: { duration: 0 },
    profiles: [
      {
        name: snapshot.benchmark.id,
        title: `${snapshot.benchmark.title} ${snapshot.release.id}`,
        version: snapshot.release.id,
        sha256: snapshot.catalogueSha256,
        supports: [],
        attributes: [],
        groups: [],
        status: 'loaded',
        controls: rows.map((row) => controlOf(snapshot, row, cci)),
      },
    ],
  }
  return `${JSON.stringify(document, null, 2)}\n`
}

export const HDF_STATUS: Readonly<Record<Status, string>> = {
  pass: 'passed',
  open: 'failed',
  not_applicable: 'skipped',
  not_reviewed: 'skipped',
}

function controlOf(snapshot: AssessmentSnapshot, row: Row, cci: Catalogue['cci']): object {
  const { rule, result } = row
  const status = STATUS_OF[result.state]
  const waiver = waiverOf(snapshot, result)
  const at = (result.observed.oldestAt ?? snapshot.at).toISOString()
  return {
    id: rule.id,
    title: rule.words.title,
    desc: rule.words.discussion,
    descriptions: [
      { label: 'check', data: rule.words.check },
      { label: 'fix', data: rule.words.fix },
    ],
    impact: status === 'not_applicable' ? 0 : IMPACT[rule.severity],
    refs: [],
    tags: {
      cci: [...rule.cci],
      nist: [...new Set(rule.cci.flatMap((id) => cci.ccis[id]?.statement ?? []))].sort(byText),
      gid: rule.id,
      rid: rule.words.ruleId,
      stig_id: rule.stigId,
      gtitle: rule.srg[0] ?? '',
      satisfies: rule.srg.slice(1),
      severity: rule.severity,
    },
    code: '',
    source_location: { ref: `${snapshot.benchmark.id}/${rule.id}`, line: 0 },
    ...(waiver === null
      ? {}
      : {
          waiver_data: {
            expiration_date: day(waiver.expiresAt),
            justification: waiver.justification,
            run: true,
            skipped_due_to_waiver: false,
            message: `${waiver.name}, approved by ${waiver.approver ?? ''}`,
          },
        }),
    ...attestation(row, snapshot),
    results: [
      {
        status: HDF_STATUS[status],
        code_desc: result.because,
        start_time: at,
        ...(status === 'open' ? { message: findingDetails(row) } : {}),
        ...(status === 'not_applicable' || status === 'not_reviewed'
          ? { skip_message: findingDetails(row) }
          : {}),
      },
    ],
  }
}

/** Viewers only show it: the result above already says what follows from it. */
function attestation({ rule, result }: Row, snapshot: AssessmentSnapshot): object {
  const { attested } = result
  if (attested === null) return {}
  return {
    attestation_data: {
      control_id: rule.id,
      explanation: `statement ${attested.evidence}`,
      frequency: `${rule.assess.human.maxAgeDays ?? 365} days`,
      status: attested.holds ? 'passed' : 'failed',
      updated: day(snapshot.at),
      updated_by: attested.by,
    },
  }
}

const IMPACT = { high: 0.7, medium: 0.5, low: 0.3 } as const
const byText = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)
