import type { AssessedHost, AssessmentSnapshot } from '../assess.ts'
import { bareRuleId, findingDetails, type Row, rowsOf, STATUS_OF, type Status } from './words.ts'
import { element, elements, type Xml, xmlDocument } from './xml-write.ts'

/**
 * Results in XCCDF 1.2, inside of a benchmark that holds the rules that they are about. No `override` is written: a waiver
 * changes nothing of what was found, and readers fail the other results when one has an override.
 */
export function writeXccdf(snapshot: AssessmentSnapshot, host: AssessedHost): string {
  const rows = rowsOf(snapshot, host)
  const root = element(
    'Benchmark',
    { xmlns: XCCDF, id: benchmarkId(snapshot), resolved: '1', 'xml:lang': 'en' },
    element('status', { date: snapshot.release.date }, 'accepted'),
    element('title', {}, snapshot.benchmark.title),
    element('version', {}, snapshot.release.id),
    elements(rows.map((row) => groupOf(snapshot, row))),
    resultOf(snapshot, host, rows),
  )
  return xmlDocument(root)
}

export const XCCDF_RESULT: Readonly<Record<Status, string>> = {
  pass: 'pass',
  open: 'fail',
  not_applicable: 'notapplicable',
  not_reviewed: 'notchecked',
}

function groupOf(snapshot: AssessmentSnapshot, { rule }: Row): Xml {
  const { words } = rule
  return element(
    'Group',
    { id: `xccdf_mil.disa.stig_group_${rule.id}` },
    element('title', {}, rule.srg[0] ?? ''),
    element(
      'Rule',
      { id: ruleId(words.ruleId), severity: rule.severity, weight: '10.0' },
      element('version', {}, rule.stigId),
      element('title', {}, words.title),
      element('description', {}, words.discussion),
      elements(rule.cci.map((cci) => element('ident', { system: CCI }, cci))),
      element('fixtext', { fixref: words.fixId }, words.fix),
      element('fix', { id: words.fixId }),
      element(
        'check',
        { system: words.checkId },
        element('check-content-ref', { name: 'M', href: `${snapshot.benchmark.id}.xml` }),
        element('check-content', {}, words.check),
      ),
    ),
  )
}

function resultOf(snapshot: AssessmentSnapshot, host: AssessedHost, rows: readonly Row[]): Xml {
  const at = snapshot.at.toISOString()
  const { score, coverage } = host.score
  return element(
    'TestResult',
    {
      id: `xccdf_io.crystal-forge_testresult_${host.system}`,
      'start-time': at,
      'end-time': at,
      'test-system': 'cpe:/a:crystal-forge:crystal-forge',
      version: snapshot.release.id,
    },
    element('benchmark', { href: `#${benchmarkId(snapshot)}`, id: benchmarkId(snapshot) }),
    element('title', {}, `${host.hostname} as of ${at}`),
    element('target', {}, host.hostname),
    host.address.ip === null ? null : element('target-address', {}, host.address.ip),
    element(
      'target-facts',
      {},
      factOf('catalogue-sha256', snapshot.catalogueSha256),
      factOf('toplevel', host.running?.current ?? ''),
      factOf('coverage', coverage === null ? '' : coverage.toFixed(4)),
      factOf('accepted-risk-rules', String(host.score.acceptedRiskRules)),
      factOf('open-cat-i', String(host.score.openCatI)),
    ),
    elements(rows.map((row) => ruleResultOf(row, at))),
    element('score', { system: SCORE, maximum: '1' }, (score ?? 0).toFixed(4)),
  )
}

function ruleResultOf(row: Row, at: string): Xml {
  const { rule, result } = row
  return element(
    'rule-result',
    { idref: ruleId(rule.words.ruleId), time: at, severity: rule.severity, weight: '10.0' },
    element('result', {}, XCCDF_RESULT[STATUS_OF[result.state]]),
    elements(rule.cci.map((cci) => element('ident', { system: CCI }, cci))),
    element('message', { severity: 'info' }, findingDetails(row)),
    element('check', { system: rule.words.checkId }),
  )
}

function factOf(name: string, value: string): Xml {
  return element('fact', { name: `urn:crystal-forge:fact:${name}`, type: 'string' }, value)
}

function benchmarkId({ benchmark }: AssessmentSnapshot): string {
  return `xccdf_mil.disa.stig_benchmark_${benchmark.id}`
}

function ruleId(id: string): string {
  return `xccdf_mil.disa.stig_rule_${bareRuleId(id)}_rule`
}

const XCCDF = 'http://checklists.nist.gov/xccdf/1.2'
const CCI = 'http://cyber.mil/cci'
const SCORE = 'urn:crystal-forge:scoring:weighted-10-4-1'
