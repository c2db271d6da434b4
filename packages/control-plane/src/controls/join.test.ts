import type { CatalogueRule } from '@crystal-forge/protocol'
import { describe, expect, it } from 'vitest'
import type { EvaluationEvidence, HumanEvidence, RuntimeEvidence } from './evidence.ts'
import { type ControlReason, type ControlState, type JoinQuestion, joinControl } from './join.ts'
import { newestFacts } from './judge-runtime.ts'
import { scoreOf } from './score.ts'

const NOW = new Date('2026-11-24T12:00:00Z')
const RUNNING = '/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system'
const OTHER = '/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-nixos-system'

const WORDS = {
  ruleId: 'SV-268137r1_rule',
  checkId: 'C-1',
  fixId: 'F-1',
  title: 'Root does not log in',
  discussion: '',
  check: 'look',
  fix: 'set it',
  provenance: { discussion: 'x', check: 'x', fix: 'x' },
}
const RULE: CatalogueRule = {
  id: 'V-268137',
  stigId: 'ANIX-00-001100',
  severity: 'medium',
  srg: ['SRG-OS-000109-GPOS-00056'],
  cci: ['CCI-000770'],
  assess: {
    config: {
      mode: 'full',
      expect: [
        { option: ['services', 'openssh', 'settings'], key: ['PermitRootLogin'], op: 'eq', value: 'no' },
      ],
    },
    runtime: [{ collector: 'sshd', args: {}, field: ['permitrootlogin'], op: 'eq', value: 'no' }],
    human: { need: 'no' },
  },
  applicability: [
    { fact: ['services', 'openssh', 'enable'], op: 'eq', value: false, because: 'There is no sshd.' },
  ],
  params: [],
  deviations: [],
  releases: { V1R2: WORDS },
}

type Reported = EvaluationEvidence['report']['rules'][string]

function reported(state: Reported['state'], value: unknown = 'no'): Reported {
  return {
    state,
    expected: [{ option: 'services.openssh.settings.PermitRootLogin', op: 'eq', value: 'no' }],
    actual: [{ value: value as string, verdict: value === 'no' ? 'true' : 'false' }],
    definedIn: ['ssh.nix'],
    ...(state === 'not-applicable'
      ? { fact: { path: 'services.openssh.enable', value: false, because: 'There is no sshd.' } }
      : {}),
  }
}

function evaluation(rule: Reported, toplevel = RUNNING): EvaluationEvidence {
  const report = {
    schema: 1,
    release: 'V1R2',
    catalogueSha256: '0'.repeat(64),
    configuration: 'web-1',
    rules: { [RULE.id]: rule },
  } as const
  return { id: 'evl_1', toplevel, evaluatedAt: NOW, report, reportSha256: 'a'.repeat(64) }
}

function fact(value: unknown, hoursAgo = 1, more: Partial<RuntimeEvidence> = {}): RuntimeEvidence {
  return {
    id: 'cfm_1',
    toplevel: RUNNING,
    collector: 'sshd',
    args: {},
    values: { permitrootlogin: value as string },
    error: null,
    collectedAt: new Date(NOW.getTime() - hoursAgo * 3_600_000),
    ...more,
  }
}

const AGREES = [fact('no')]
const DISAGREES = [fact('yes')]
const STALE = [fact('no', 25)]

function question(
  evaluated: EvaluationEvidence | null,
  facts: readonly RuntimeEvidence[],
  more: Partial<JoinQuestion> = {},
): JoinQuestion {
  return {
    rule: RULE,
    release: 'V1R2',
    running: { current: RUNNING, booted: RUNNING, reportSha256: null },
    evaluation: evaluated,
    runtime: newestFacts(facts),
    people: [],
    waivers: [],
    policy: { freshForHours: { sshd: 24 }, undeclared: 'pass' },
    asOf: NOW,
    ...more,
  }
}

type Row = readonly [
  string,
  EvaluationEvidence | null,
  readonly RuntimeEvidence[],
  Partial<JoinQuestion>,
  ControlState,
  ControlReason,
]

const active = evaluation(reported('active'))
const inactive = evaluation(reported('inactive', 'yes'))
const unsupported = evaluation({
  ...reported('unsupported'),
  actual: [{ verdict: 'unsupported', because: 'no such option' }],
})
const notApplicable = evaluation(reported('not-applicable'))
const justified = evaluation(reported('justified', 'yes'))
const manualRule: CatalogueRule = {
  ...RULE,
  assess: { ...RULE.assess, config: { mode: 'none', expect: [] } },
}
const manual = evaluation({ state: 'manual', expected: [], actual: [], definedIn: [] })
const anyBut: Partial<JoinQuestion> = { rule: manualRule }
const rebooting = { running: { current: RUNNING, booted: OTHER, reportSha256: null } }
const holding = (letter: string): Partial<JoinQuestion> => ({
  running: { current: RUNNING, booted: RUNNING, reportSha256: letter.repeat(64) },
})
const strict = { policy: { freshForHours: { sshd: 24 }, undeclared: 'open' } } as const

function person(holds: boolean, more: Partial<HumanEvidence> = {}): HumanEvidence {
  return {
    id: 'cev_1',
    rule: RULE.id,
    holds,
    statement: 'seen',
    author: { subject: 'ada@example.com', name: 'ada' },
    approver: { subject: 'grace@example.com', name: 'grace' },
    collectedAt: new Date('2026-11-01T00:00:00Z'),
    expiresAt: new Date('2027-01-01T00:00:00Z'),
    ...more,
  }
}
const needing: CatalogueRule = {
  ...RULE,
  assess: { ...RULE.assess, human: { need: 'yes', kind: 'document', prompt: 'Show it.', maxAgeDays: 90 } },
}
const needs = (...people: HumanEvidence[]): Partial<JoinQuestion> => ({ rule: needing, people })

const ROWS: readonly Row[] = [
  ['active, the host agrees', active, AGREES, {}, 'pass', 'proven'],
  ['active, the host disagrees', active, DISAGREES, {}, 'contradiction', 'drift'],
  ['active, disagrees before a reboot', active, DISAGREES, rebooting, 'contradiction', 'reboot_pending'],
  ['active, nothing from the host', active, [], {}, 'not_reviewed', 'unproven'],
  ['active, stale', active, STALE, {}, 'not_reviewed', 'unproven'],
  [
    'active, collected under another system',
    active,
    [fact('no', 1, { toplevel: OTHER })],
    {},
    'not_reviewed',
    'unproven',
  ],
  ['active, the value is of another type', active, [fact(5)], {}, 'not_reviewed', 'unproven'],
  [
    'active, the collector failed',
    active,
    [fact('no', 1, { error: 'timeout' })],
    {},
    'not_reviewed',
    'unproven',
  ],
  [
    'active, older facts agree and the newest disagrees',
    active,
    [fact('no', 3), fact('yes', 1)],
    {},
    'contradiction',
    'drift',
  ],
  ['inactive, agrees', inactive, AGREES, {}, 'pass', 'undeclared'],
  ['inactive, agrees, where undeclared is open', inactive, AGREES, strict, 'open', 'undeclared'],
  ['inactive, disagrees', inactive, DISAGREES, {}, 'open', 'not_met'],
  ['inactive, nothing', inactive, [], {}, 'open', 'not_met'],
  ['inactive, stale', inactive, STALE, {}, 'open', 'not_met'],
  ['unsupported, agrees', unsupported, AGREES, {}, 'pass', 'undeclared'],
  ['unsupported, disagrees', unsupported, DISAGREES, {}, 'open', 'not_met'],
  ['unsupported, nothing', unsupported, [], {}, 'not_reviewed', 'not_known'],
  ['manual, agrees', manual, AGREES, anyBut, 'pass', 'undeclared'],
  ['manual, disagrees', manual, DISAGREES, anyBut, 'open', 'not_met'],
  ['manual, nothing', manual, [], anyBut, 'not_reviewed', 'not_known'],
  ['manual, stale', manual, STALE, anyBut, 'not_reviewed', 'not_known'],
  ['justified, agrees', justified, AGREES, {}, 'open', 'justified'],
  ['justified, disagrees', justified, DISAGREES, {}, 'open', 'justified'],
  ['justified, nothing', justified, [], {}, 'open', 'justified'],
  ['not applicable, nothing', notApplicable, [], {}, 'not_applicable', 'not_applicable'],
  ['not applicable, the host agrees', notApplicable, AGREES, {}, 'not_applicable', 'not_applicable'],
  ['not applicable, contradicted', notApplicable, DISAGREES, {}, 'contradiction', 'fact_contradicted'],
  [
    'evaluation of another system, nothing',
    evaluation(reported('active'), OTHER),
    [],
    {},
    'not_reviewed',
    'not_known',
  ],
  [
    'evaluation of another system, agrees',
    evaluation(reported('active'), OTHER),
    AGREES,
    {},
    'pass',
    'undeclared',
  ],
  [
    'waived in another system only',
    evaluation(reported('not-applicable'), OTHER),
    [],
    {},
    'not_reviewed',
    'not_known',
  ],
  ['the report is the one in the system', active, AGREES, holding('a'), 'pass', 'proven'],
  ['another report is in the system', active, [], holding('b'), 'not_reviewed', 'not_known'],
  ['no evaluation, disagrees', null, DISAGREES, {}, 'open', 'not_met'],
  [
    'said to be active, but its values say otherwise',
    evaluation(reported('active', 'yes')),
    [],
    {},
    'open',
    'not_met',
  ],
  [
    'said not to apply by a fact that does not decide it',
    evaluation({ ...reported('not-applicable'), fact: { path: 'x.y', value: false, because: 'so' } }),
    [],
    {},
    'open',
    'not_met',
  ],
  ['a person is needed, nobody came', active, AGREES, needs(), 'not_reviewed', 'person_needed'],
  ['a person is needed and attests', active, AGREES, needs(person(true)), 'pass', 'proven'],
  [
    'attested, not accepted by anybody',
    active,
    AGREES,
    needs(person(true, { approver: null })),
    'not_reviewed',
    'person_needed',
  ],
  [
    'attested and accepted by the same person',
    active,
    AGREES,
    needs(person(true, { approver: { subject: 'ada@example.com', name: 'ada on her phone' } })),
    'not_reviewed',
    'person_needed',
  ],
  [
    'attested, expired',
    active,
    AGREES,
    needs(person(true, { expiresAt: NOW })),
    'not_reviewed',
    'person_needed',
  ],
  [
    'attested longer ago than the rule allows',
    active,
    AGREES,
    needs(person(true, { collectedAt: new Date('2026-08-01T00:00:00Z') })),
    'not_reviewed',
    'person_needed',
  ],
  [
    'attested after the time that is asked about',
    active,
    AGREES,
    needs(person(true, { collectedAt: new Date('2026-11-25T00:00:00Z') })),
    'not_reviewed',
    'person_needed',
  ],
  ['attested, but the host disagrees', active, DISAGREES, needs(person(true)), 'contradiction', 'drift'],
  ['attested, but unproven', active, [], needs(person(true)), 'not_reviewed', 'unproven'],
  [
    'a person says that it does not hold',
    active,
    AGREES,
    { people: [person(false, { approver: null })] },
    'open',
    'person_refutes',
  ],
]

describe('the join of evidence', () => {
  it.each(ROWS)('%s', (_, evaluated, facts, more, state, reason) => {
    const result = joinControl(question(evaluated, facts, more))
    expect({ state: result.state, reason: result.reason }).toEqual({ state, reason })
  })

  it('never passes without fresh evidence of the host, whatever else is said', () => {
    for (const evaluated of [active, inactive, unsupported, notApplicable, justified, null])
      for (const facts of [[], STALE, [fact(5)]])
        for (const people of [[], [person(true)], [person(false)]])
          expect(joinControl(question(evaluated, facts, { people })).state).not.toBe('pass')
  })

  it('takes what is missing in what the host shows for a finding, and what it did not look at for unknown', () => {
    const [asked] = RULE.assess.runtime
    if (asked === undefined) throw new Error('the rule asks the host')
    const nowhere = fact('no', 1, { values: { loglevel: 'INFO' } })
    expect(joinControl(question(active, [nowhere]))).toMatchObject({
      state: 'contradiction',
      reason: 'drift',
    })
    const deeper = {
      ...RULE,
      assess: { ...RULE.assess, runtime: [{ ...asked, field: ['underMatch', 'permitrootlogin'] }] },
    }
    expect(joinControl(question(active, [nowhere], { rule: deeper }))).toMatchObject({
      state: 'not_reviewed',
      reason: 'unproven',
    })
  })

  it.each([
    ['2026-06-30', 'agrees'],
    ['2026-07-01', 'disagrees'],
  ] as const)('counts what carries a last day to the end of it: %s %s', (day, kind) => {
    const [asked] = RULE.assess.runtime
    if (asked === undefined) throw new Error('the rule asks the host')
    const value = ['25.11 until 2026-06-30', '24.11']
    const rule = { ...RULE, assess: { ...RULE.assess, runtime: [{ ...asked, op: 'in' as const, value }] } }
    const asOf = new Date(`${day}T23:00:00Z`)
    const seen = fact('25.11', 0, { collectedAt: asOf })
    expect(joinControl(question(null, [seen], { rule, asOf })).observed.kind).toBe(kind)
    const always = fact('24.11', 0, { collectedAt: asOf })
    expect(joinControl(question(null, [always], { rule, asOf })).observed.kind).toBe('agrees')
  })

  it('says which evidence it used', () => {
    const result = joinControl(question(active, AGREES, needs(person(true))))
    expect(result.evidence).toEqual(['evl_1', 'cfm_1', 'cev_1'])
    expect(joinControl(question(evaluation(reported('active'), OTHER), [])).evidence).toEqual([])
  })

  it('reports where evaluator and server differ', () => {
    expect(joinControl(question(evaluation(reported('active', 'yes')), [])).configured.defect).toMatch(
      /says active/,
    )
    expect(joinControl(question(evaluation(reported('inactive', 'no')), [])).configured).toMatchObject({
      state: 'inactive',
      defect: expect.stringMatching(/says inactive/),
    })
  })

  it('does not know what an evaluation with another catalogue or release did not look at', () => {
    const other = evaluation({
      ...reported('active'),
      expected: [{ option: 'services.openssh.enable', op: 'eq' }],
    })
    expect(joinControl(question(other, [])).configured).toMatchObject({ state: 'unknown', defect: null })
    const moved = evaluation({
      ...reported('active'),
      expected: [{ option: 'x', op: 'eq' }, ...reported('active').expected],
      actual: [{ value: 1, verdict: 'true' }, ...reported('active').actual],
    })
    expect(joinControl(question(moved, AGREES))).toMatchObject({ state: 'pass', reason: 'proven' })
    expect(joinControl(question(active, [], { release: 'V1R1' })).configured).toMatchObject({
      state: 'unknown',
      because: 'the configuration follows V1R2, not V1R1',
    })
  })

  it('shows a waiver on what is open, and on nothing else', () => {
    const waivers = [{ id: 'wvr_1', rules: [RULE.id], expiresAt: new Date('2027-01-01T00:00:00Z') }]
    expect(joinControl(question(justified, [], { waivers }))).toMatchObject({
      state: 'open',
      acceptedRisk: { waiver: 'wvr_1' },
    })
    expect(joinControl(question(active, DISAGREES, { waivers }))).toMatchObject({
      state: 'contradiction',
      acceptedRisk: { waiver: 'wvr_1' },
    })
    expect(joinControl(question(active, AGREES, { waivers })).acceptedRisk).toBeNull()
    expect(
      joinControl(
        question(justified, [], { waivers: [{ ...waivers[0], id: 'w', rules: ['V-1'], expiresAt: NOW }] }),
      ).acceptedRisk,
    ).toBeNull()
  })

  it('asks a person about a conditional rule only where the site answers it in its own way', () => {
    const rule: CatalogueRule = {
      ...needing,
      params: [{ name: 'servers', type: 'listOf str', default: ['a'], description: 'x' }],
      assess: { ...needing.assess, human: { need: 'cond', prompt: 'Show the approval.' } },
    }
    const withParams = (servers: string[]): EvaluationEvidence => ({
      ...active,
      report: { ...active.report, params: { servers } },
    })
    expect(joinControl(question(active, AGREES, { rule })).state).toBe('pass')
    expect(joinControl(question(withParams(['a']), AGREES, { rule })).state).toBe('pass')
    expect(joinControl(question(withParams(['b']), AGREES, { rule })).reason).toBe('person_needed')
  })
})

describe('a score', () => {
  const weigh = (severity: 'high' | 'medium' | 'low', more: Parameters<typeof question>) => ({
    severity,
    result: joinControl(question(...more)),
  })

  it('counts weights, holds unreviewed and accepted rules against, and comes with its coverage', () => {
    const waivers = [{ id: 'wvr_1', rules: [RULE.id], expiresAt: new Date('2027-01-01T00:00:00Z') }]
    const score = scoreOf([
      weigh('high', [active, AGREES]),
      weigh('high', [active, DISAGREES]),
      weigh('medium', [justified, [], { waivers }]),
      weigh('low', [active, []]),
      weigh('low', [notApplicable, []]),
    ])
    expect(score).toEqual({
      passedWeight: 10,
      applicableWeight: 25,
      score: 0.4,
      freshRules: 2,
      applicableRules: 4,
      coverage: 0.5,
      acceptedRiskRules: 1,
      acceptedRisk: 0.25,
      openCatI: 1,
      contradictions: 1,
      oldestEvidenceAt: new Date('2026-11-24T11:00:00Z'),
      states: { pass: 1, open: 1, contradiction: 1, not_applicable: 1, not_reviewed: 1 },
    })
  })

  it('is unknown, not perfect, where nothing applies', () => {
    expect(scoreOf([])).toMatchObject({ score: null, coverage: null, acceptedRisk: null })
  })
})
