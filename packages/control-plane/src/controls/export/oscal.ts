import type { AssessedHost, AssessedRule, AssessmentSnapshot } from '../assess.ts'
import type { Catalogue } from '../catalogue.ts'
import type { ControlResult } from '../join.ts'
import { dueOf } from './due-date.ts'
import { uuid5 } from './uuid5.ts'
import { findingDetails, rowsOf, STATUS_OF, waiverOf } from './words.ts'

/** OSCAL 1.1.3 assessment results: an observation for each host and rule, a finding for each control, a risk for each open rule. */
export function writeOscalResults(snapshot: AssessmentSnapshot, catalogue: Catalogue): string {
  const ids = idsOf(snapshot)
  const controls = controlsOf(snapshot, catalogue)
  const { coverage, score } = snapshot.score
  return json({
    'assessment-results': {
      uuid: ids('assessment-results'),
      metadata: metadataOf(snapshot, 'assessment results'),
      'import-ap': { href: `#${ids('plan')}` },
      results: [
        {
          uuid: ids('result'),
          title: `${snapshot.benchmark.title} ${snapshot.release.id}`,
          description: `Score ${percent(score)}, coverage by fresh evidence ${percent(coverage)}, accepted risk ${percent(snapshot.score.acceptedRisk)}, open CAT I ${snapshot.score.openCatI}.`,
          start: snapshot.at.toISOString(),
          end: snapshot.at.toISOString(),
          ...inventoryOf(snapshot),
          'reviewed-controls': {
            'control-selections': [
              {
                'include-controls': [...controls.keys()].map((control) => ({ 'control-id': control })),
              },
            ],
          },
          ...some('observations', observationsOf(snapshot)),
          ...some('risks', risksOf(snapshot)),
          ...some('findings', findingsOf(snapshot, controls)),
        },
      ],
      'back-matter': {
        resources: [
          {
            uuid: ids('plan'),
            title: 'Continuous assessment',
            description: `Every rule of catalogue ${snapshot.catalogueSha256} is joined from the evaluated configuration, values that the host shows, and statements of people.`,
          },
        ],
      },
    },
  })
}

/** What the rules of the release implement, by control of NIST SP 800-53. */
export function writeOscalComponent(snapshot: AssessmentSnapshot, catalogue: Catalogue): string {
  const ids = idsOf(snapshot)
  return json({
    'component-definition': {
      uuid: ids('component-definition'),
      metadata: metadataOf(snapshot, 'component definition'),
      components: [
        {
          uuid: ids('component'),
          type: 'software',
          title: 'NixOS under the rules of the benchmark',
          description: `Configuration of ${snapshot.benchmark.title} ${snapshot.release.id}, declared in NixOS and shown by each host.`,
          'control-implementations': [
            {
              uuid: ids('control-implementation'),
              source: 'https://doi.org/10.6028/NIST.SP.800-53r5',
              description: 'Rules by the controls that their CCIs belong to.',
              'implemented-requirements': [...controlsOf(snapshot, catalogue)].map(([control, rules]) => ({
                uuid: ids('requirement', control),
                'control-id': control,
                description: rules.map((rule) => `${rule.id}: ${rule.words.title}`).join('\n'),
                props: rules.map((rule) => ({ name: 'rule', ns: NS, value: rule.id })),
              })),
            },
          ],
        },
      ],
    },
  })
}

/** Plan of action and milestones: an item for each rule that is open on some host. */
export function writeOscalPoam(snapshot: AssessmentSnapshot): string {
  const ids = idsOf(snapshot)
  const open = openRules(snapshot)
  const items = open.map(({ rule, findings }) => ({
    uuid: ids('poam-item', rule.id),
    title: `${rule.id} ${rule.words.title}`,
    description: `Open on ${findings.map(({ host }) => host.hostname).join(', ')}.`,
    props: [
      { name: 'severity', ns: NS, value: rule.severity },
      { name: 'due', ns: NS, value: dueOf(snapshot, rule).toISOString().slice(0, 10) },
    ],
    'related-observations': findings.map(({ host }) => ({
      'observation-uuid': ids('observation', host.system, rule.id),
    })),
    'related-risks': [{ 'risk-uuid': ids('risk', rule.id) }],
  }))
  const nothing = {
    uuid: ids('poam-item', 'nothing'),
    title: 'Nothing is open',
    description: `No rule was open as of ${snapshot.at.toISOString()}.`,
  }
  const openIds = new Set(open.map(({ rule }) => rule.id))
  return json({
    'plan-of-action-and-milestones': {
      uuid: ids('poam'),
      metadata: metadataOf(snapshot, 'plan of action and milestones'),
      'system-id': {
        'identifier-type': 'http://ietf.org/rfc/rfc4122',
        id: uuid5('system', ...snapshot.hosts.map(({ system }) => system)),
      },
      ...inventoryOf(snapshot),
      ...some(
        'observations',
        observationsOf(snapshot, (rule, result) => openIds.has(rule) && isOpen(result)),
      ),
      ...some('risks', risksOf(snapshot)),
      // The format wants one item at least.
      'poam-items': items.length === 0 ? [nothing] : items,
    },
  })
}

export type OpenRule = {
  readonly rule: AssessedRule
  readonly findings: readonly { readonly host: AssessedHost; readonly result: ControlResult }[]
}

/** Rules that are open on some host, with those hosts. */
export function openRules(snapshot: AssessmentSnapshot): readonly OpenRule[] {
  return snapshot.rules
    .map((rule) => ({
      rule,
      findings: snapshot.hosts.flatMap((host) =>
        host.controls.flatMap((result) =>
          result.rule === rule.id && isOpen(result) ? [{ host, result }] : [],
        ),
      ),
    }))
    .filter(({ findings }) => findings.length > 0)
}

/** Whether a waiver stands behind every host on which the rule is open. */
export function isAccepted({ findings }: OpenRule): boolean {
  return findings.every(({ result }) => result.acceptedRisk !== null)
}

function isOpen(result: ControlResult): boolean {
  return STATUS_OF[result.state] === 'open'
}

type Ids = (...name: readonly string[]) => string

/** Ids depend on what is assessed and when, so that two documents never share one by accident. */
function idsOf(snapshot: AssessmentSnapshot): Ids {
  const hosts = snapshot.hosts.map(({ system }) => system).join(' ')
  return (...name) =>
    uuid5('oscal', snapshot.catalogueSha256, snapshot.release.id, snapshot.at.toISOString(), hosts, ...name)
}

function metadataOf(snapshot: AssessmentSnapshot, what: string): object {
  return {
    title: `${snapshot.benchmark.title} ${snapshot.release.id}: ${what}`,
    'last-modified': snapshot.at.toISOString(),
    version: snapshot.at.toISOString(),
    'oscal-version': '1.1.3',
  }
}

/** The hosts; nothing where there are none, because OSCAL has no empty lists. */
function inventoryOf(snapshot: AssessmentSnapshot): object {
  if (snapshot.hosts.length === 0) return {}
  const ids = idsOf(snapshot)
  const items = snapshot.hosts.map((host) => ({
    uuid: ids('host', host.system),
    description: host.hostname,
    props: [
      { name: 'asset-id', value: host.system },
      ...(host.running === null ? [] : [{ name: 'toplevel', ns: NS, value: host.running.current }]),
    ],
  }))
  return { 'local-definitions': { 'inventory-items': items } }
}

function observationsOf(
  snapshot: AssessmentSnapshot,
  wanted: (rule: string, result: ControlResult) => boolean = () => true,
): object[] {
  const ids = idsOf(snapshot)
  return snapshot.hosts.flatMap((host) =>
    rowsOf(snapshot, host)
      .filter(({ rule, result }) => wanted(rule.id, result))
      .map((row) => {
        const { rule, result } = row
        const { oldestAt, freshUntil } = result.observed
        return {
          uuid: ids('observation', host.system, rule.id),
          title: `${rule.id} on ${host.hostname}`,
          description: findingDetails(row),
          methods: [
            ...(result.configured.evaluation === null ? [] : ['EXAMINE']),
            ...(result.attested === null ? [] : ['INTERVIEW']),
            ...(result.observed.evidence.length === 0 ? [] : ['TEST']),
            ...(result.evidence.length === 0 ? ['UNKNOWN'] : []),
          ],
          props: [
            { name: 'state', ns: NS, value: result.state },
            { name: 'reason', ns: NS, value: result.reason },
          ],
          subjects: [{ 'subject-uuid': ids('host', host.system), type: 'inventory-item' }],
          ...some(
            'relevant-evidence',
            result.evidence.map((id) => ({ href: `urn:crystal-forge:evidence:${id}`, description: id })),
          ),
          collected: (oldestAt ?? snapshot.at).toISOString(),
          ...(freshUntil === null ? {} : { expires: freshUntil.toISOString() }),
        }
      }),
  )
}

function risksOf(snapshot: AssessmentSnapshot): object[] {
  const ids = idsOf(snapshot)
  return openRules(snapshot).map((open) => {
    const { rule, findings } = open
    const waiver = findings.map(({ result }) => waiverOf(snapshot, result)).find((one) => one !== null)
    const accepted = isAccepted(open)
    return {
      uuid: ids('risk', rule.id),
      title: `${rule.id} ${rule.words.title}`,
      description: findings.map(({ host, result }) => `${host.hostname}: ${result.because}`).join('\n'),
      statement:
        accepted && waiver !== undefined
          ? `${waiver.name}: ${waiver.justification}`
          : rule.words.discussion || rule.words.title,
      status: accepted ? 'deviation-approved' : 'open',
      deadline: (accepted && waiver !== undefined ? waiver.expiresAt : dueOf(snapshot, rule)).toISOString(),
      ...(accepted ? {} : { remediations: [remediationOf(snapshot, rule, waiver?.milestones ?? [])] }),
      'related-observations': findings.map(({ host }) => ({
        'observation-uuid': ids('observation', host.system, rule.id),
      })),
    }
  })
}

/** What closes a finding: the steps of its waiver where somebody planned some, else that the rule holds when it is due. */
function remediationOf(
  snapshot: AssessmentSnapshot,
  rule: AssessedRule,
  planned: readonly { readonly text: string; readonly due: string }[],
): object {
  const ids = idsOf(snapshot)
  const due = dueOf(snapshot, rule).toISOString().slice(0, 10)
  const steps = planned.length > 0 ? planned : [{ text: `${rule.id} holds on every host.`, due }]
  return {
    uuid: ids('remediation', rule.id),
    lifecycle: 'planned',
    title: `Close ${rule.id}`,
    description: rule.words.fix,
    tasks: steps.map(({ text, due: day }, at) => ({
      uuid: ids('milestone', rule.id, String(at)),
      type: 'milestone',
      title: text,
      timing: { 'on-date': { date: `${day}T00:00:00Z` } },
    })),
  }
}

/** A control is satisfied only where every rule of it passes, or does not apply, on every host. */
function findingsOf(
  snapshot: AssessmentSnapshot,
  controls: ReadonlyMap<string, readonly AssessedRule[]>,
): object[] {
  const ids = idsOf(snapshot)
  const open = new Set(openRules(snapshot).map(({ rule }) => rule.id))
  return [...controls].flatMap(([control, rules]) => {
    const names = new Set(rules.map(({ id }) => id))
    const results = snapshot.hosts.flatMap((host) =>
      host.controls.filter(({ rule }) => names.has(rule)).map((result) => ({ host, result })),
    )
    if (results.length === 0) return []
    const satisfied = results.every(
      ({ result }) => result.state === 'pass' || result.state === 'not_applicable',
    )
    return [
      {
        uuid: ids('finding', control),
        title: `Control ${control}`,
        description: `Rules ${[...names].join(', ')} on ${snapshot.hosts.length} hosts.`,
        target: {
          type: 'objective-id',
          'target-id': `${control}_obj`,
          status: { state: satisfied ? 'satisfied' : 'not-satisfied' },
        },
        'related-observations': results.map(({ host, result }) => ({
          'observation-uuid': ids('observation', host.system, result.rule),
        })),
        ...some(
          'related-risks',
          [...names].filter((id) => open.has(id)).map((id) => ({ 'risk-uuid': ids('risk', id) })),
        ),
      },
    ]
  })
}

/** Controls as OSCAL spells them (`ac-17.9`), each with its rules. */
function controlsOf(
  snapshot: AssessmentSnapshot,
  { cci }: Catalogue,
): ReadonlyMap<string, readonly AssessedRule[]> {
  const found = new Map<string, Set<AssessedRule>>()
  for (const rule of snapshot.rules)
    for (const id of rule.cci) {
      const control = cci.ccis[id]?.control
      if (control === null || control === undefined) continue
      const name = control.toLowerCase().replace(/\(([0-9]+)\)/, '.$1')
      found.set(name, (found.get(name) ?? new Set()).add(rule))
    }
  return new Map(
    [...found]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([control, rules]) => [control, [...rules]]),
  )
}

/** OSCAL has no empty lists. */
function some(name: string, list: readonly unknown[]): object {
  return list.length === 0 ? {} : { [name]: list }
}

function percent(share: number | null): string {
  return share === null ? 'unknown' : `${(share * 100).toFixed(1)} %`
}

function json(document: unknown): string {
  return `${JSON.stringify(document, null, 2)}\n`
}

const NS = 'https://crystal-forge.io/ns/oscal'
