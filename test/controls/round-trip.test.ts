import {
  type AssessmentSnapshot,
  assess,
  type ChecklistStatus,
  compareChecklist,
  EXPORT_FORMATS,
  type ExportFormat,
  type HostEvidence,
  ONE_HOST_FORMATS,
  readChecklist,
  writeExport,
} from '@crystal-forge/control-plane'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { demoHost, demoWaiver, theCatalogue } from './demo-host.ts'

const catalogue = theCatalogue()
const AT = new Date('2026-11-24T12:00:00.000Z')
const RULES = [...catalogue.rules.values()]
  .filter(({ releases }) => typeof releases['V1R2'] === 'object')
  .map(({ id }) => id)

type Counts = Record<ChecklistStatus, number>
/** What a reader who knows nothing but the format finds; formats without results name what they have instead. */
type Found = Partial<Counts> & { readonly rules?: number; readonly accepted?: number }

/** Written against the formats, and not with the tables of the writers. */
const READERS: Readonly<Record<ExportFormat, (text: string) => Found>> = {
  cklb: (text) =>
    count(
      JSON.parse(text).stigs[0].rules.map(({ status }: { status: string }) => status),
      { not_a_finding: 'pass', open: 'open', not_applicable: 'not_applicable', not_reviewed: 'not_reviewed' },
    ),
  ckl: (text) =>
    count(matches(text, /<STATUS>([^<]*)<\/STATUS>/g), {
      NotAFinding: 'pass',
      Open: 'open',
      Not_Applicable: 'not_applicable',
      Not_Reviewed: 'not_reviewed',
    }),
  xccdf: (text) =>
    count(matches(text, /<rule-result [^>]*>\s*<result>([^<]*)<\/result>/g), {
      pass: 'pass',
      fail: 'open',
      notapplicable: 'not_applicable',
      notchecked: 'not_reviewed',
    }),
  hdf: (text) => {
    const controls: { impact: number; results: { status: string }[]; waiver_data?: object }[] =
      JSON.parse(text).profiles[0].controls
    const words = controls.map(({ impact, results }) => (impact === 0 ? 'none' : (results[0]?.status ?? '')))
    const accepted = controls.filter((control) => control.waiver_data !== undefined).length
    const found = count(words, {
      passed: 'pass',
      failed: 'open',
      none: 'not_applicable',
      skipped: 'not_reviewed',
    })
    return { ...found, accepted }
  },
  'oscal-ar': (text) => {
    const [result] = JSON.parse(text)['assessment-results'].results
    const states = (result.observations ?? []).map(
      ({ props }: { props: { name: string; value: string }[] }) =>
        props.find(({ name }) => name === 'state')?.value,
    )
    const statuses: string[] = (result.risks ?? []).map(({ status }: { status: string }) => status)
    const accepted = statuses.filter((status) => status === 'deviation-approved').length
    const words = { pass: 'pass', open: 'open', contradiction: 'open' } as const
    const same = { not_applicable: 'not_applicable', not_reviewed: 'not_reviewed' } as const
    return { ...count(states, { ...words, ...same }), accepted }
  },
  'oscal-cd': (text) => {
    const [implementation] = JSON.parse(text)['component-definition'].components[0]['control-implementations']
    const named = implementation['implemented-requirements'].flatMap(
      ({ props }: { props: { value: string }[] }) => props.map(({ value }) => value),
    )
    return { rules: new Set(named).size }
  },
  'oscal-poam': (text) => {
    const plan = JSON.parse(text)['plan-of-action-and-milestones']
    const risks: { status: string }[] = plan.risks ?? []
    const items = plan['poam-items'].filter((item: object) => 'related-risks' in item)
    return {
      open: items.length,
      accepted: risks.filter(({ status }) => status === 'deviation-approved').length,
    }
  },
  emass: (text) => {
    // Row 8 and what follows; a cell in quotes may have lines of its own.
    const rows = text
      .split('\r\n')
      .slice(7)
      .filter((row) => /^,[0-9]+,/.test(row))
    return { open: rows.length, accepted: rows.filter((row) => row.includes(',Risk Accepted,')).length }
  },
}

function expected(snapshot: AssessmentSnapshot, format: ExportFormat): Found {
  const { states, acceptedRiskRules: accepted } = snapshot.score
  const open = states.open + states.contradiction
  const counts = {
    pass: states.pass,
    open,
    not_applicable: states.not_applicable,
    not_reviewed: states.not_reviewed,
  }
  if (format === 'oscal-cd') return { rules: RULES.length }
  if (format === 'oscal-poam' || format === 'emass') return { open, accepted }
  return format === 'hdf' || format === 'oscal-ar' ? { ...counts, accepted } : counts
}

/** A host on which some rules are lost, justified or not seen, some facts are stale, and some risks accepted. */
const anyHost = fc
  .record({
    lost: fc.subarray(RULES),
    justified: fc.subarray(RULES, { maxLength: 20 }),
    gone: fc.subarray(RULES, { maxLength: 20 }),
    silent: fc.boolean(),
    stale: fc.nat(10),
    waived: fc.subarray(RULES, { minLength: 1, maxLength: 40 }),
    words: fc.string({ unit: 'binary', maxLength: 200 }).map((text) => text.replaceAll('\0', '')),
  })
  .map((made): AssessmentSnapshot => {
    const host = demoHost(catalogue, AT)
    const rules = host.evaluation?.report.rules ?? {}
    for (const id of made.lost)
      rules[id] = { ...rule(host, id), state: 'inactive', actual: [{ value: 'lost', verdict: 'false' }] }
    for (const id of made.justified)
      rules[id] = { ...rule(host, id), state: 'justified', justification: [`because ${made.words}`] }
    for (const id of made.gone) delete rules[id]
    const runtime = host.runtime.map((fact, at) =>
      made.stale > 0 && at % made.stale === 0
        ? { ...fact, collectedAt: new Date('2026-01-01T00:00:00Z') }
        : fact,
    )
    const waiver = demoWaiver({ rules: made.waived, justification: made.words })
    return assess(catalogue, {
      at: AT,
      hosts: [made.silent ? { ...host, runtime: [] } : { ...host, runtime }],
      waivers: [waiver],
    })
  })

function rule(
  host: HostEvidence,
  id: string,
): NonNullable<HostEvidence['evaluation']>['report']['rules'][string] {
  const found = host.evaluation?.report.rules[id]
  if (found === undefined) throw new Error(`${id} is not in the report`)
  return found
}

describe.each(EXPORT_FORMATS)('%s', (format) => {
  it('is read back with the same numbers by who knows nothing but the format', () => {
    fc.assert(
      fc.property(anyHost, (snapshot) => {
        const found = READERS[format](writeExport(format, snapshot, catalogue))
        expect(found).toEqual(expected(snapshot, format))
      }),
      { numRuns: 12 },
    )
  })
})

describe.each(EXPORT_FORMATS.filter((format) => !ONE_HOST_FORMATS.includes(format)))(
  '%s of no host at all',
  (format) => {
    it('says that there is nothing', () => {
      const nobody = assess(catalogue, { at: AT, hosts: [], waivers: [] })
      expect(READERS[format](writeExport(format, nobody, catalogue))).toEqual(expected(nobody, format))
    })
  },
)

describe.each(['cklb', 'ckl'] as const)('%s, which can be imported', (format) => {
  it('comes back without any change, whatever is true of the host', () => {
    fc.assert(
      fc.property(anyHost, (snapshot) => {
        const read = readChecklist(writeExport(format, snapshot, catalogue), catalogue.benchmark.id)
        if (!read.ok) throw new Error(read.fault)
        const [host] = snapshot.hosts
        if (host === undefined) throw new Error('there is no host')
        const { same, statements, passedOver } = compareChecklist(read.checklist, host)
        expect({ same, statements, passedOver }).toEqual({
          same: RULES.length,
          statements: [],
          passedOver: [],
        })
      }),
      { numRuns: 12 },
    )
  })
})

describe.each(['hdf', 'oscal-ar', 'oscal-cd', 'oscal-poam', 'emass'] as const)(
  '%s, which is for others to read',
  (format) => {
    it('is refused as a checklist, in one sentence', () => {
      const snapshot = assess(catalogue, { at: AT, hosts: [demoHost(catalogue, AT)], waivers: [] })
      const read = readChecklist(writeExport(format, snapshot, catalogue), catalogue.benchmark.id)
      expect(read).toEqual({ ok: false, fault: expect.stringMatching(/^[^\n]{1,300}$/) })
    })
  },
)

function count(words: readonly unknown[], meaning: Readonly<Record<string, ChecklistStatus>>): Counts {
  const counts: Counts = { pass: 0, open: 0, not_applicable: 0, not_reviewed: 0 }
  for (const word of words) {
    const status = meaning[String(word)]
    if (status === undefined) throw new Error(`${JSON.stringify(word)} is no status`)
    counts[status] += 1
  }
  return counts
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, word = '']) => word)
}
