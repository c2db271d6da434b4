import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type AssessmentSnapshot,
  adoptRelease,
  assess,
  compareChecklist,
  EXPORT_FORMATS,
  type ExportFormat,
  ONE_HOST_FORMATS,
  readBenchmark,
  readCatalogue,
  readChecklist,
  writeExport,
} from '@crystal-forge/control-plane'
import { describe, expect, it } from 'vitest'
import { catalogueFiles, demoHost, demoWaiver, factsOf, TOPLEVEL, theCatalogue } from './demo-host.ts'
import { schemaFaults } from './json-schema.ts'
import { xmlFaults } from './xml-schema.ts'

const AT = new Date('2026-11-24T12:00:00.000Z')
const catalogue = theCatalogue()
const BENCHMARK = 'Anduril_NixOS_STIG'
const schemas = fileURLToPath(new URL('../vectors/schemas', import.meta.url))

/** A host with a finding of every kind: lost settings, drift, an accepted risk, stale facts. */
function mixed(): AssessmentSnapshot {
  const host = demoHost(catalogue, AT)
  const { evaluation } = host
  if (evaluation === null) throw new Error('the demo host is evaluated')
  const { rules } = evaluation.report
  const change = (id: string, more: object): void => {
    rules[id] = { ...(rules[id] as NonNullable<(typeof rules)[string]>), ...more }
  }
  change('V-268137', { state: 'inactive', actual: [{ value: 'yes', verdict: 'false' }] })
  change('V-268139', { state: 'justified', justification: ['Virtual machines have no USB'] })
  change('V-268084', {
    state: 'not-applicable',
    fact: {
      path: 'services.displayManager.enable',
      value: false,
      because: 'The host has no display manager.',
    },
  })
  const runtime = host.runtime
    .map((fact) => {
      if (fact.collector === 'sysctl') return { ...fact, values: { 'net.ipv4.tcp_syncookies': '0' } }
      if (fact.collector === 'sshd')
        return { ...fact, values: Object.assign({}, fact.values, { permitrootlogin: 'yes' }) }
      return fact.collector === 'time-sync'
        ? { ...fact, collectedAt: new Date('2026-11-01T00:00:00Z') }
        : fact
    })
    .filter(({ collector }) => collector !== 'netfilter')
  return assess(catalogue, { at: AT, hosts: [{ ...host, runtime }], waivers: [demoWaiver()] })
}

/** Two hosts, one of which has never reported. */
function fleet(): AssessmentSnapshot {
  const silent = { system: 'sys_demo2', hostname: 'web-0', running: null, evaluation: null, runtime: [] }
  return assess(catalogue, {
    at: AT,
    hosts: [demoHost(catalogue, AT), demoHost(catalogue, AT, silent)],
    waivers: [demoWaiver()],
  })
}

/** A host that has never reported. */
function silent(): AssessmentSnapshot {
  const nothing = {
    running: null,
    evaluation: null,
    runtime: [],
    osVersion: null,
    address: { ip: null, mac: null },
  }
  return assess(catalogue, { at: AT, hosts: [demoHost(catalogue, AT, nothing)], waivers: [] })
}

const mixedSnapshot = mixed()
const host = mixedSnapshot.hosts[0]
if (host === undefined) throw new Error('no host')

describe('a host that satisfies everything that a machine can see', () => {
  const snapshot = assess(catalogue, { at: AT, hosts: [demoHost(catalogue, AT)], waivers: [] })
  it('passes what needs no person, and nothing else', () => {
    const [only] = snapshot.hosts
    const states =
      only?.controls.map(({ rule, state, reason, because }) => ({ rule, state, reason, because })) ?? []
    const needing = new Set(
      snapshot.rules.filter((rule) => rule.assess.human.need === 'yes').map(({ id }) => id),
    )
    // Parameters of these are not set in the catalogue: a site must name its log collector, its certificates, its devices.
    const unset = new Set(['V-268108', 'V-268109'])
    const other = states.filter(
      ({ rule, state }) => state !== 'pass' && !needing.has(rule) && !unset.has(rule),
    )
    expect(other).toEqual([])
    expect(only?.score.openCatI).toBe(0)
  })

  it('passes nothing when its facts are old, of another system, or absent', () => {
    const facts = demoHost(catalogue, AT).runtime
    const variants = [
      [],
      facts.map((fact) => ({ ...fact, collectedAt: new Date('2026-10-01T00:00:00Z') })),
      facts.map((fact) => ({ ...fact, toplevel: TOPLEVEL.replace('aaaa', 'bbbb') })),
    ]
    for (const runtime of variants) {
      const { hosts } = assess(catalogue, {
        at: AT,
        hosts: [demoHost(catalogue, AT, { runtime })],
        waivers: [],
      })
      expect(hosts[0]?.score).toMatchObject({ states: { pass: 0 }, coverage: 0 })
    }
  })

  it('is asked each question once', () => {
    const keys = factsOf(catalogue).map(({ collector, args }) => `${collector} ${JSON.stringify(args)}`)
    expect(new Set(keys).size).toBe(keys.length)
  })
})

describe('exports', () => {
  it.each(EXPORT_FORMATS)('%s: the same snapshot gives the same bytes', (format) => {
    expect(writeExport(format, mixed(), catalogue)).toBe(writeExport(format, mixed(), theCatalogue()))
  })

  it.each(ONE_HOST_FORMATS)('%s is about one host', (format) => {
    expect(() => writeExport(format, fleet(), catalogue)).toThrow(/one host, and 2 were chosen/)
  })

  it.each(EXPORT_FORMATS)('%s holds a text that is hostile without becoming part of it', (format) => {
    const evil = `]]>&<a>"'\u0000\u001b=cmd|x,\r\n`
    const waiver = demoWaiver({ name: 'no-usbguard', justification: evil, owner: '=cmd()' })
    const { hosts, ...rest } = mixedSnapshot
    const text = writeExport(format, { ...rest, hosts, waivers: [waiver] }, catalogue)
    if (format === 'ckl' || format === 'xccdf') {
      expect(text).not.toContain('<a>')
      expect(text).not.toContain('\u0000')
    }
    if (format === 'emass') expect(text).toContain("'=cmd()")
    if (format === 'cklb') expect(JSON.parse(text)).toBeTruthy()
  })
})

describe('CKLB', () => {
  const document = JSON.parse(writeExport('cklb', mixedSnapshot, catalogue))
  const members = JSON.parse(readFileSync(path.join(schemas, 'cklb-members.json'), 'utf8'))
  const [stig] = document.stigs

  it('has the members that the format knows, and no others (no schema of CKLB 1.0 is published: its members stand in a list)', () => {
    const fits = (value: object, kind: string): void => {
      const names = Object.keys(value)
      expect(names.filter((name) => !members[kind].known.includes(name))).toEqual([])
      expect(members[kind].required.filter((name: string) => !names.includes(name))).toEqual([])
    }
    fits(document, 'root')
    fits(document.target_data, 'target_data')
    fits(stig, 'stig')
    for (const rule of stig.rules) {
      fits(rule, 'rule')
      expect(members.statuses).toContain(rule.status)
      expect(members.severities).toContain(rule.severity)
      expect(rule.stig_uuid).toBe(stig.uuid)
      expect(rule.rule_id_src).toBe(`${rule.rule_id}_rule`)
    }
    expect(stig.size).toBe(103)
  })

  it('has 103 rules, none of them not_a_finding without fresh evidence', () => {
    expect(stig.rules).toHaveLength(103)
    for (const rule of stig.rules) {
      const result = host.controls.find((one) => one.rule === rule.group_id)
      if (rule.status !== 'not_a_finding') continue
      expect(result?.observed.kind).toBe('agrees')
      expect(result?.observed.evidence.length).toBeGreaterThan(0)
      expect(result?.observed.freshUntil?.getTime()).toBeGreaterThanOrEqual(AT.getTime())
      expect(rule.finding_details).toContain('evidence: evl_demo cfm_demo')
    }
  })

  it('says open for what was lost, drifted or is accepted, with the waiver in the comments', () => {
    const ruleOf = (id: string): { status: string; comments: string; finding_details: string } =>
      stig.rules.find((rule: { group_id: string }) => rule.group_id === id)
    expect(ruleOf('V-268139')).toMatchObject({
      status: 'open',
      comments: expect.stringContaining(
        'accepted risk: waiver=no-usbguard type=risk_accepted approver=grace expires=2027-03-01',
      ),
    })
    expect(ruleOf('V-268141')).toMatchObject({
      status: 'open',
      finding_details: expect.stringContaining('result: contradiction (drift)'),
    })
    expect(ruleOf('V-268084').status).toBe('not_applicable')
    expect(ruleOf('V-268078').status).toBe('not_reviewed')
  })
})

describe('valid documents', () => {
  const json = (format: ExportFormat, snapshot: AssessmentSnapshot): unknown =>
    JSON.parse(writeExport(format, snapshot, catalogue))
  const schema = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(path.join(schemas, name), 'utf8'))

  it('hdf: by the JSON schema of Heimdall', () => {
    for (const snapshot of [mixedSnapshot, silent()])
      expect(schemaFaults(schema('hdf-exec-json.json'), json('hdf', snapshot))).toEqual([])
  })

  it.each(['oscal-ar', 'oscal-cd', 'oscal-poam'] as const)(
    '%s: by the JSON schema of OSCAL 1.1.3',
    (format) => {
      const oscal = schema('oscal-complete-1.1.3.json')
      const nobody = assess(catalogue, { at: AT, hosts: [], waivers: [] })
      for (const snapshot of [mixedSnapshot, silent(), fleet(), nobody]) {
        const faults = schemaFaults(oscal, json(format, snapshot))
        expect(faults.slice(0, 5)).toEqual([])
      }
    },
  )

  it.each(['oscal-ar', 'oscal-cd', 'oscal-poam'] as const)(
    '%s: every reference leads to something',
    (format) => {
      const ids = new Set<string>()
      const references: string[] = []
      walk(json(format, fleet()), (key, value) => {
        if (key === 'uuid') {
          expect(ids.has(value)).toBe(false)
          ids.add(value)
        } else if (key.endsWith('-uuid')) references.push(value)
        else if (key === 'href' && value.startsWith('#')) references.push(value.slice(1))
      })
      expect(references.filter((id) => !ids.has(id))).toEqual([])
      for (const id of ids)
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    },
  )

  it.each([
    ['ckl', 'checklist-2.5.xsd'],
    ['xccdf', 'xccdf-1.2/xccdf_1.2.xsd'],
  ] as const)('%s: by the XML schema %s', async (format, xsd) => {
    for (const snapshot of [mixedSnapshot, silent()]) {
      const faults = await xmlFaults(path.join(schemas, xsd), writeExport(format, snapshot, catalogue))
      expect(faults.slice(0, 5)).toEqual([])
    }
    const document = writeExport(format, mixedSnapshot, catalogue)
    const wrong = document.replace(/<(STATUS|result)>[^<]*</, '<$1>fine<')
    expect(await xmlFaults(path.join(schemas, xsd), wrong)).toContainEqual(expect.stringContaining('fine'))
  })

  it('OSCAL: an accepted risk is a deviation with a deadline, any other is open', () => {
    const document = JSON.parse(writeExport('oscal-poam', mixedSnapshot, catalogue))
    const risks: { title: string; status: string; deadline: string }[] =
      document['plan-of-action-and-milestones'].risks
    expect(risks.find(({ title }) => title.startsWith('V-268139'))).toMatchObject({
      status: 'deviation-approved',
      deadline: '2027-03-01T00:00:00.000Z',
    })
    expect(risks.find(({ title }) => title.startsWith('V-268137'))?.status).toBe('open')
  })

  it('OSCAL: what is open has milestones with a date, those of a waiver where it plans some', () => {
    const tasksIn = (snapshot: AssessmentSnapshot): unknown[] => {
      const document = JSON.parse(writeExport('oscal-poam', snapshot, catalogue))
      const risks: { title: string; remediations?: { lifecycle: string; tasks: unknown[] }[] }[] =
        document['plan-of-action-and-milestones'].risks
      return risks.flatMap(({ title, remediations = [] }) =>
        remediations.map(({ lifecycle, tasks }) => [title.slice(0, 8), lifecycle, tasks]),
      )
    }
    const open = tasksIn(mixedSnapshot)
    expect(open).toContainEqual([
      'V-268137',
      'planned',
      [
        expect.objectContaining({
          type: 'milestone',
          title: 'V-268137 holds on every host.',
          timing: { 'on-date': { date: '2027-02-22T00:00:00Z' } },
        }),
      ],
    ])
    // Accepted on every host, so nobody plans to close it.
    expect(JSON.stringify(open)).not.toContain('V-268139')
    // Accepted on one host and not on the other: what is planned is the waiver's.
    const plan = { text: 'Locks at the ports', due: '2026-12-31' }
    const waiver = demoWaiver({ scope: { kind: 'hosts', hosts: ['web-1'] }, milestones: [plan] })
    const hosts = ['web-1', 'db-1'].map((hostname) => {
      const one = demoHost(catalogue, AT, { system: `sys_${hostname}`, hostname })
      return { ...one, runtime: one.runtime.map(withoutUsbguard) }
    })
    expect(tasksIn(assess(catalogue, { at: AT, hosts, waivers: [waiver] }))).toContainEqual([
      'V-268139',
      'planned',
      [
        expect.objectContaining({
          title: plan.text,
          timing: { 'on-date': { date: '2026-12-31T00:00:00Z' } },
        }),
      ],
    ])
  })
})

function withoutUsbguard<T extends { readonly args: unknown; readonly values: unknown }>(fact: T): T {
  return JSON.stringify(fact.args).includes('usbguard')
    ? { ...fact, values: { 'usbguard.service': { active: 'inactive' } } }
    : fact
}

describe('eMASS (no schema is published: the rules of its sheet stand here)', () => {
  const rows = writeExport('emass', mixedSnapshot, catalogue).split('\r\n')

  it('has its heading in row 7 and its data from row 8', () => {
    expect(rows[6]).toMatch(/^,POA&M Item ID,Control Vulnerability Description,/)
    expect(rows[7]).toMatch(/^,1,/)
  })

  it('gives a date and a milestone to what goes on, and neither to an accepted risk', () => {
    const accepted = rows.find((row) => row.includes('V-268139')) ?? ''
    expect(accepted).toContain(',Risk Accepted,"no-usbguard, approved by grace')
    expect(accepted).toContain(',V-268139')
    expect(accepted).not.toMatch(/[0-9]+\/[0-9]{2}\/2026/)
    const going = rows.find((row) => row.includes('V-268137')) ?? ''
    expect(going).toMatch(/,2\/22\/2027,V-268137 holds on every host: 2\/22\/2027,/)
    expect(going).toContain(',Ongoing,')
  })
})

describe('an import', () => {
  it.each(['cklb', 'ckl'] as const)('of an exported %s changes nothing and counts the same', (format) => {
    const read = readChecklist(writeExport(format, mixedSnapshot, catalogue), BENCHMARK)
    if (!read.ok) throw new Error(read.fault)
    expect(read.checklist).toMatchObject({ format, hostname: 'web-1', stigId: 'Anduril_NixOS_STIG' })
    const { states } = host.score
    expect(compareChecklist(read.checklist, host)).toEqual({
      same: 103,
      statements: [],
      passedOver: [],
      counts: {
        pass: states.pass,
        open: states.open + states.contradiction,
        not_applicable: states.not_applicable,
        not_reviewed: states.not_reviewed,
      },
    })
  })

  it.each<[string, (text: string) => string]>([
    ['a byte order mark', (text) => `\u{feff}${text}`],
    ['the line ends of Windows', (text) => text.replaceAll('\n', '\r\n')],
    ['both', (text) => `\u{feff}${text.replaceAll('\n', '\r\n')}`],
  ])('of a checklist with %s reads the same', (_what, saved) => {
    for (const format of ['ckl', 'cklb'] as const) {
      const text = writeExport(format, mixedSnapshot, catalogue)
      expect(text.includes('\n')).toBe(true)
      const read = readChecklist(text, BENCHMARK)
      expect(read.ok).toBe(true)
      expect(readChecklist(saved(text), BENCHMARK)).toEqual(read)
    }
  })

  it('takes what differs as statements, and passes over what nobody can declare', () => {
    const document = JSON.parse(writeExport('cklb', mixedSnapshot, catalogue))
    const edit = (id: string, status: string): void => {
      document.stigs[0].rules.find((rule: { group_id: string }) => rule.group_id === id).status = status
    }
    edit('V-268137', 'not_a_finding')
    edit('V-268139', 'not_applicable')
    edit('V-268141', 'not_reviewed')
    document.stigs[0].version = 1
    const read = readChecklist(JSON.stringify(document), BENCHMARK)
    if (!read.ok) throw new Error(read.fault)
    const compared = compareChecklist(read.checklist, host)
    expect(compared.statements.map(({ rule, ours, theirs }) => [rule, ours, theirs])).toEqual([
      ['V-268137', 'open', 'pass'],
    ])
    expect(compared.passedOver.map(({ rule }) => rule)).toEqual(['V-268139', 'V-268141'])
  })

  it.each([
    ['no JSON', '{', /JSON refused/],
    ['no checklist', '{"title":"x","id":"1"}', /stigs/],
    [
      'an unknown status',
      JSON.stringify({
        title: 'x',
        id: '1',
        stigs: [{ stig_id: 'x', rules: [{ group_id: 'V-1', status: 'fine' }] }],
      }),
      /stigs.0.rules.0.status/,
    ],
    [
      'other benchmarks',
      JSON.stringify({
        title: 'x',
        id: '1',
        stigs: [
          { stig_id: 'x', rules: [] },
          { stig_id: 'y', rules: [] },
        ],
      }),
      /it is about x, y, not about Anduril_NixOS_STIG/,
    ],
    [
      'a rule that stands twice',
      JSON.stringify({
        title: 'x',
        id: '1',
        stigs: [
          {
            stig_id: BENCHMARK,
            rules: [
              { group_id: 'V-1', status: 'open' },
              { group_id: 'V-1', status: 'open' },
            ],
          },
        ],
      }),
      /V-1 stands twice/,
    ],
    [
      'one benchmark twice',
      JSON.stringify({
        title: 'x',
        id: '1',
        stigs: [
          { stig_id: BENCHMARK, rules: [] },
          { stig_id: BENCHMARK, rules: [] },
        ],
      }),
      /Anduril_NixOS_STIG stands twice/,
    ],
    ['a document type', '<!DOCTYPE x [<!ENTITY a "b">]><CHECKLIST/>', /document types are not read/],
    ['an entity', '<CHECKLIST>&evil;</CHECKLIST>', /is no entity/],
    [
      'an entity that every object has',
      '<CHECKLIST>&constructor;</CHECKLIST>',
      /"&constructor;" is no entity/,
    ],
    ['NUL by number', '<CHECKLIST>&#0;</CHECKLIST>', /"&#0;" is no entity/],
    ['half of a pair by number', '<CHECKLIST>&#xD800;</CHECKLIST>', /"&#xD800;" is no entity/],
    ['a number beyond Unicode', '<CHECKLIST>&#x110000;</CHECKLIST>', /is no entity/],
    ['an attribute that stands twice', '<CHECKLIST __proto__="a" __proto__="b"/>', /__proto__ stands twice/],
    [
      'NUL in a text of a CKLB',
      JSON.stringify({ title: 'x', id: '1', target_data: { host_name: 'a\0' }, stigs: [] }),
      /target_data.host_name: expected text without NUL/,
    ],
    ['an element that does not end', '<CHECKLIST><STIGS></CHECKLIST>', /expected <\/STIGS>/],
    ['another root', '<html/>', /expected CHECKLIST/],
    ['deep nesting', '<a>'.repeat(100), /inside each other/],
  ])('refuses %s in one sentence', (_, text, fault) => {
    expect(readChecklist(text, BENCHMARK)).toEqual({ ok: false, fault: expect.stringMatching(fault) })
  })
})

describe('a new release', () => {
  const v14 = (version: string, rules: string): string =>
    `<?xml version="1.0"?><Benchmark xmlns="http://checklists.nist.gov/xccdf/1.1" id="Anduril_NixOS_STIG">
     <status date="2026-03-30">accepted</status><title>Anduril NixOS Security Technical Implementation Guide</title>
     <plain-text id="release-info">Release: 3 Benchmark Date: 01 Apr 2026</plain-text><version>${version}</version>${rules}</Benchmark>`
  const known = catalogue.rules.get('V-268078')
  const words = known?.releases['V1R2']
  if (known === undefined || typeof words !== 'object') throw new Error('V-268078 is in V1R2')
  const group = (id: string, more: { title?: string; check?: string }): string =>
    `<Group id="${id}"><title>${known.srg[0]}</title><Rule id="SV-${id.slice(2)}r9_rule" severity="medium"><version>ANIX-00-009999</version>
     <title>${more.title ?? words.title}</title><description>&lt;VulnDiscussion&gt;${words.discussion}&lt;/VulnDiscussion&gt;&lt;FalsePositives&gt;&lt;/FalsePositives&gt;</description>
     ${known.cci.map((cci) => `<ident system="http://cyber.mil/cci">${cci}</ident>`).join('')}
     <fixtext fixref="F-9">${words.fix.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</fixtext>
     <check system="C-9"><check-content>${more.check ?? words.check.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</check-content></check></Rule></Group>`

  it('from DISA in XCCDF 1.1.4 says what is new, gone and changed', () => {
    const read = readBenchmark(v14('1', group('V-268078', { check: 'Look again.' }) + group('V-299999', {})))
    if (!read.ok) throw new Error(read.fault)
    const step = adoptRelease(catalogue, read.benchmark)
    if (!step.ok) throw new Error(step.fault)
    const { adopted } = step
    expect(adopted).toMatchObject({
      release: 'V1R3',
      before: 'V1R2',
      added: ['V-299999'],
      changed: [{ rule: 'V-268078', parts: ['check'] }],
      unchanged: 0,
    })
    expect(adopted.removed).toHaveLength(102)
    const files = new Map(catalogueFiles())
    for (const [name, text] of adopted.files) files.set(name, Buffer.from(text))
    const after = readCatalogue(files)
    // The new rule waits for somebody's judgement, and says so; everything else is a catalogue.
    expect(after).toMatchObject({ ok: false })
    expect(after.ok ? [] : after.faults).toEqual([expect.stringMatching(/V-299999.json: assess/)])
    files.delete('anix/rules/V-299999.json')
    const without = readCatalogue(files)
    expect(without.ok && without.catalogue.rules.get('V-268078')?.releases['V1R3']).toMatchObject({
      ruleId: 'SV-268078r9_rule',
      check: 'Look again.',
    })
  })

  it('as DISA publishes it has the words that the catalogue has, letter for letter', () => {
    const file = path.join(schemas, '../benchmarks/nixos-stig-v1r1-excerpt.xml')
    const read = readBenchmark(readFileSync(file, 'utf8'))
    if (!read.ok) throw new Error(read.fault)
    expect(read.benchmark).toMatchObject({ id: BENCHMARK, release: 'V1R1', date: '2024-10-22' })
    expect(read.benchmark.rules.map(({ id }) => id)).toEqual(['V-268078', 'V-268087', 'V-268162'])
    for (const { id, words, stigId, severity, srg, cci } of read.benchmark.rules) {
      const ours = catalogue.rules.get(id)
      expect({ stigId, severity, srg, cci }).toEqual({
        stigId: ours?.stigId,
        severity: ours?.severity,
        srg: ours?.srg,
        cci: ours?.cci,
      })
      expect(ours?.releases['V1R1']).toEqual(words)
    }
  })

  it('reads the same with a byte order mark and the line ends of Windows', () => {
    const text = v14('1', group('V-268078', {}))
    const saved = `\u{feff}${text.replaceAll('\n', '\r\n')}`
    expect(readBenchmark(saved)).toMatchObject({ ok: true })
    expect(readBenchmark(saved)).toEqual(readBenchmark(text))
  })

  it('may begin a discussion as often as it likes without ending one', () => {
    // A search that starts again at each of them would take minutes.
    const starts = '&lt;VulnDiscussion&gt;'.repeat(180_000)
    const text = v14('1', group('V-268078', {})).replace(
      /&lt;VulnDiscussion[\s\S]*?&lt;\/VulnDiscussion&gt;/,
      starts,
    )
    const read = readBenchmark(text)
    if (!read.ok) throw new Error(read.fault)
    expect(read.benchmark.rules[0]?.words.discussion).toHaveLength(
      16 * 180_000 + '<FalsePositives></FalsePositives>'.length,
    )
  })

  it('in XCCDF 1.2 is read as well: our own results name the release that they are of', () => {
    const read = readBenchmark(writeExport('xccdf', mixedSnapshot, catalogue))
    if (!read.ok) throw new Error(read.fault)
    expect(read.benchmark).toMatchObject({ id: 'Anduril_NixOS_STIG', release: 'V1R2', date: '2025-10-01' })
    expect(read.benchmark.rules).toHaveLength(103)
    expect(adoptRelease(catalogue, read.benchmark)).toEqual({
      ok: false,
      fault: 'V1R2 is in the catalogue already',
    })
    const again = adoptRelease(catalogue, { ...read.benchmark, release: 'V1R3' })
    expect(again.ok && again.adopted).toMatchObject({ added: [], removed: [], changed: [], unchanged: 103 })
  })

  it.each([
    [
      'another benchmark',
      v14('1', group('V-268078', {})).replace('Anduril_NixOS_STIG', 'RHEL_9_STIG'),
      /this catalogue is of/,
    ],
    ['no version', v14('draft', group('V-268078', {})), /expected a number/],
    ['no rules', v14('1', ''), /has no Group/],
    [
      'a severity of its own',
      v14('1', group('V-268078', {}).replace('"medium"', '"grave"')),
      /severity is "grave"/,
    ],
    ['a rule twice', v14('1', group('V-268078', {}) + group('V-268078', {})), /V-268078 stands twice/],
    [
      'two rules in a group',
      v14('1', group('V-268078', {}).replace(/<Rule[\s\S]*<\/Rule>/, '$&$&')),
      /V-268078.*one Rule/,
    ],
    [
      'another edition of the format',
      v14('1', group('V-268078', {})).replace('xccdf/1.1"', 'xccdf/2.0"'),
      /xccdf\/2\.0; expected that of XCCDF 1\.1 or 1\.2/,
    ],
  ])('is refused with %s', (_, text, fault) => {
    const read = readBenchmark(text)
    const step = read.ok ? adoptRelease(catalogue, read.benchmark) : read
    expect(step).toEqual({ ok: false, fault: expect.stringMatching(fault) })
  })
})

function walk(value: unknown, visit: (key: string, value: string) => void): void {
  if (Array.isArray(value)) for (const part of value) walk(part, visit)
  else if (typeof value === 'object' && value !== null)
    for (const [key, part] of Object.entries(value)) {
      if (typeof part === 'string') visit(key, part)
      else walk(part, visit)
    }
}
