import type { AssessedHost, AssessmentSnapshot } from '../assess.ts'
import { uuid5 } from './uuid5.ts'
import {
  bareRuleId,
  findingDetails,
  type Row,
  releaseInfo,
  rowsOf,
  STATUS_OF,
  type Status,
  waiverLine,
} from './words.ts'

/** A CKLB 1.0 checklist of one host. Strict: members that the format does not know are never written. */
export function writeCklb(snapshot: AssessmentSnapshot, host: AssessedHost): string {
  const seed = [snapshot.catalogueSha256, snapshot.release.id, host.system, snapshot.at.toISOString()]
  const stig = uuid5('cklb stig', ...seed)
  const rows = rowsOf(snapshot, host)
  const checklist = {
    title: `${host.hostname} ${snapshot.benchmark.title} ${snapshot.release.id}`,
    id: uuid5('cklb', ...seed),
    active: false,
    mode: 1,
    has_path: false,
    target_data: targetOf(snapshot, host),
    stigs: [
      {
        stig_name: snapshot.benchmark.title,
        display_name: snapshot.benchmark.title.replace(/ Security Technical Implementation Guide$/, ''),
        stig_id: snapshot.benchmark.id,
        release_info: releaseInfo(snapshot),
        uuid: stig,
        size: snapshot.rules.length,
        rules: rows.map((row) => ruleOf(snapshot, row, { stig, seed })),
      },
    ],
    cklb_version: '1.0',
  }
  return `${JSON.stringify(checklist, null, 2)}\n`
}

export const CKLB_STATUS: Readonly<Record<Status, string>> = {
  pass: 'not_a_finding',
  open: 'open',
  not_applicable: 'not_applicable',
  not_reviewed: 'not_reviewed',
}

function targetOf(snapshot: AssessmentSnapshot, host: AssessedHost): object {
  return {
    target_type: 'Computing',
    host_name: host.hostname,
    ip_address: host.address.ip ?? '',
    mac_address: host.address.mac ?? '',
    fqdn: host.hostname.includes('.') ? host.hostname : '',
    comments: `as of ${snapshot.at.toISOString()}; catalogue ${snapshot.catalogueSha256}; system ${host.running?.current ?? 'never reported'}`,
    role: 'None',
    is_web_database: false,
    technology_area: 'UNIX OS',
    web_db_site: '',
    web_db_instance: '',
  }
}

function ruleOf(
  snapshot: AssessmentSnapshot,
  row: Row,
  { stig, seed }: { readonly stig: string; readonly seed: readonly string[] },
): object {
  const { rule, result } = row
  const { words } = rule
  const [group = ''] = rule.srg
  return {
    uuid: uuid5('cklb rule', ...seed, rule.id),
    stig_uuid: stig,
    group_id: rule.id,
    group_id_src: rule.id,
    rule_id: bareRuleId(words.ruleId),
    rule_id_src: `${bareRuleId(words.ruleId)}_rule`,
    rule_version: rule.stigId,
    severity: rule.severity,
    weight: '10.0',
    classification: 'Unclassified',
    group_title: group,
    rule_title: words.title,
    discussion: words.discussion,
    check_content: words.check,
    fix_text: words.fix,
    ccis: [...rule.cci],
    legacy_ids: [],
    group_tree: [{ id: rule.id, title: group, description: '<GroupDescription></GroupDescription>' }],
    check_content_ref: { name: 'M', href: `${snapshot.benchmark.id}.xml` },
    status: CKLB_STATUS[STATUS_OF[result.state]],
    overrides: {},
    comments: waiverLine(snapshot, row),
    finding_details: findingDetails(row),
  }
}
