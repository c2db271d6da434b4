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
  versionOf,
  waiverLine,
} from './words.ts'
import { element, elements, type Xml, xmlDocument } from './xml-write.ts'

/** A checklist of STIG Viewer 2 (schema 2.5) of one host. */
export function writeCkl(snapshot: AssessmentSnapshot, host: AssessedHost): string {
  const rows = rowsOf(snapshot, host)
  return xmlDocument(
    element(
      'CHECKLIST',
      {},
      assetOf(host),
      element(
        'STIGS',
        {},
        element('iSTIG', {}, infoOf(snapshot), elements(rows.map((row) => vulnOf(snapshot, row)))),
      ),
    ),
  )
}

export const CKL_STATUS: Readonly<Record<Status, string>> = {
  pass: 'NotAFinding',
  open: 'Open',
  not_applicable: 'Not_Applicable',
  not_reviewed: 'Not_Reviewed',
}

function assetOf(host: AssessedHost): Xml {
  return element(
    'ASSET',
    {},
    element('ROLE', {}, 'None'),
    element('ASSET_TYPE', {}, 'Computing'),
    element('HOST_NAME', {}, host.hostname),
    element('HOST_IP', {}, host.address.ip ?? ''),
    element('HOST_MAC', {}, host.address.mac ?? ''),
    element('HOST_FQDN', {}, host.hostname.includes('.') ? host.hostname : ''),
    element('TARGET_COMMENT', {}, host.running?.current ?? 'never reported'),
    element('TECH_AREA', {}, 'UNIX OS'),
    element('TARGET_KEY', {}, ''),
    element('WEB_OR_DATABASE', {}, 'false'),
    element('WEB_DB_SITE', {}, ''),
    element('WEB_DB_INSTANCE', {}, ''),
  )
}

function infoOf(snapshot: AssessmentSnapshot): Xml {
  const { version } = versionOf(snapshot.release.id)
  const facts: readonly (readonly [string, string])[] = [
    ['version', version],
    ['classification', 'UNCLASSIFIED'],
    ['stigid', snapshot.benchmark.id],
    ['releaseinfo', releaseInfo(snapshot)],
    ['title', snapshot.benchmark.title],
    ['uuid', uuid5('ckl stig', snapshot.catalogueSha256, snapshot.release.id)],
  ]
  return element(
    'STIG_INFO',
    {},
    elements(
      facts.map(([name, data]) =>
        element('SI_DATA', {}, element('SID_NAME', {}, name), element('SID_DATA', {}, data)),
      ),
    ),
  )
}

function vulnOf(snapshot: AssessmentSnapshot, row: Row): Xml {
  const { rule, result } = row
  const { words } = rule
  const [group = ''] = rule.srg
  const facts: readonly (readonly [string, string])[] = [
    ['Vuln_Num', rule.id],
    ['Severity', rule.severity],
    ['Group_Title', group],
    ['Rule_ID', `${bareRuleId(words.ruleId)}_rule`],
    ['Rule_Ver', rule.stigId],
    ['Rule_Title', words.title],
    ['Vuln_Discuss', words.discussion],
    ['Check_Content', words.check],
    ['Fix_Text', words.fix],
    ['Check_Content_Ref', 'M'],
    ['Weight', '10.0'],
    ['Class', 'Unclass'],
    [
      'STIGRef',
      `${snapshot.benchmark.title} :: Version ${versionOf(snapshot.release.id).version}, ${releaseInfo(snapshot)}`,
    ],
    ...rule.cci.map((cci) => ['CCI_REF', cci] as const),
  ]
  return element(
    'VULN',
    {},
    elements(
      facts.map(([name, data]) =>
        element('STIG_DATA', {}, element('VULN_ATTRIBUTE', {}, name), element('ATTRIBUTE_DATA', {}, data)),
      ),
    ),
    element('STATUS', {}, CKL_STATUS[STATUS_OF[result.state]]),
    element('FINDING_DETAILS', {}, findingDetails(row)),
    element('COMMENTS', {}, waiverLine(snapshot, row)),
    element('SEVERITY_OVERRIDE', {}, ''),
    element('SEVERITY_JUSTIFICATION', {}, ''),
  )
}
