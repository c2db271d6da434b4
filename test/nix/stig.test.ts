import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { catalogueSha256 } from '@crystal-forge/control-plane'
import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { evaluateNix, harness, MOVED, nix } from './evaluate.ts'

const SLOW = harness === undefined ? 120_000 : 1_800_000

const outcome = z.object({ state: z.string(), definedIn: z.array(z.string()), reasons: z.array(z.string()) })
const trials = z.record(
  z.string(),
  z.object({
    alone: outcome,
    plain: outcome,
    force: outcome,
    plainLoses: z.boolean(),
    lostIn: z.string().nullable(),
  }),
)

describe.skipIf(nix.version === null)(`a rule of the STIG ${nix.note}`, () => {
  it.each(
    harness === undefined
      ? [
          { generation: '24.11', count: 85, only: undefined },
          { generation: '25.11', count: MOVED.length, only: MOVED },
        ]
      : [{ generation: '24.11', count: 85, only: undefined }],
  )(
    'holds alone and against a plain line, and shows who won against a stronger one: $generation',
    { timeout: SLOW },
    async ({ generation, count, only }) => {
      const all = trials.parse(
        await evaluateNix('rules.nix', only === undefined ? { generation } : { generation, only }),
      )
      expect(Object.keys(all)).toHaveLength(count)
      const wrong = Object.entries(all).flatMap(([id, { alone, plain, force, plainLoses, lostIn }]) => [
        ...(alone.state === 'active' ? [] : [{ id, alone }]),
        ...(plain.state === (plainLoses ? 'inactive' : 'active') ? [] : [{ id, plain }]),
        ...(force.state === 'inactive' ? [] : [{ id, force }]),
        ...(force.definedIn.some((where) => where.includes(lostIn ?? 'site.nix:'))
          ? []
          : [{ id, wonBy: force.definedIn }]),
      ])
      expect(wrong).toEqual([])
    },
  )
})

const tracked = z.looseObject({
  srg: z.array(z.string()).min(1),
  cci: z.array(z.string()).min(1),
  rules: z.array(z.string()),
})
const untracked = z.looseObject({
  srg: z.array(z.string()).min(1),
  cci: z.array(z.string()).min(1),
  justification: z.array(z.string()),
  config: z.record(z.string(), z.json()),
  rules: z.record(z.string(), z.string()),
})
const rule = z.looseObject({
  state: z.string(),
  expected: z.array(z.looseObject({ option: z.string() })),
  actual: z.array(z.looseObject({ verdict: z.string() })),
  definedIn: z.array(z.string()),
})
const states = z.record(z.string(), z.string())
const counts = z.record(z.string(), z.number())
const texts = z.array(z.string())
const scenarios = z.object({
  sha256: z.string(),
  vectors: texts,
  everything: counts,
  everythingTwice: z.number(),
  releaseV1R1: counts,
  syslogText: z.string(),
  report: z.object({
    hasContext: z.boolean(),
    parsed: z.object({
      schema: z.literal(1),
      benchmark: z.string(),
      release: z.string(),
      catalogueSha256: z.string(),
      nixpkgsRev: z.string().nullable(),
      configuration: z.string(),
      rules: z.record(z.string(), rule),
    }),
  }),
  reportInEtc: z.boolean(),
  tracking: z.object({
    active: z.record(z.string(), tracked),
    inactive: z.record(z.string(), untracked),
    activeBanner: z.looseObject({ config: z.record(z.string(), z.json()) }),
    activeKernel: z.looseObject({ config: z.record(z.string(), z.json()) }),
  }),
  eachControlAlone: z.record(z.string(), z.record(z.string(), z.boolean())),
  kernelParams: texts,
  auditRules: texts,
  pamKeepsSession: z.boolean(),
  pwqualityTogether: z.string(),
  rootHash: states,
  rootHashIsNotTold: z.boolean(),
  sssdSecretIsNotTold: z.boolean(),
  replacedSource: rule,
  nftables: z.string(),
  openPort: z.string(),
  noPki: z.record(z.string(), rule),
  disabledWithout: texts,
  disabledWith: z.object({ failed: texts, rule, inactive: untracked }),
  disabledButHolds: z.string(),
  ruleOverControl: z.boolean(),
  sharedRule: z.boolean(),
  ruleWithout: texts,
  ruleWithWaiver: z.object({ failed: texts, state: z.string() }),
  waiverExpired: texts,
  waiverIncomplete: texts,
  waiverMalformed: z.boolean(),
  unknownRule: z.boolean(),
  presets: z.record(
    z.string(),
    z.object({
      baseline: z.string(),
      expected: z.number(),
      warnings: texts,
      failed: texts,
      justification: texts,
    }),
  ),
  presetThenBaseline: texts,
  twoPresets: texts,
  baselineOff: texts,
  enforceAssert: texts,
  enforceAssertMessages: texts,
  enforceReport: texts,
  ownControl: z.object({
    active: tracked,
    level: z.number(),
    plain: z.boolean(),
    lost: untracked,
    disabled: z.array(z.unknown()),
  }),
})

describe.skipIf(nix.version === null)(`the STIG modules ${nix.note}`, () => {
  let seen: z.infer<typeof scenarios>
  beforeAll(async () => {
    seen = scenarios.parse(await evaluateNix('scenarios.nix', { generation: '24.11' }))
  }, SLOW)

  it('read the same catalogue as TypeScript, byte for byte', () => {
    const folder = fileURLToPath(new URL('../../catalogue', import.meta.url))
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .map((file) => [path.relative(folder, file), readFileSync(file)] as const)
    expect(seen.sha256).toBe(catalogueSha256(new Map(files)))
    expect(seen.report.parsed.catalogueSha256).toBe(seen.sha256)
  })

  it('judge as TypeScript does', () => {
    const folder = new URL('../../catalogue/operators.json', import.meta.url)
    const vectors = z
      .array(z.looseObject({ verdict: z.string() }))
      .parse(JSON.parse(readFileSync(folder, 'utf8')))
    expect(seen.vectors).toEqual(vectors.map(({ verdict }) => verdict))
  })

  it('let every rule hold together, with the parameters of a site', () => {
    expect(seen.everything).toEqual({ active: 83, manual: 18, 'not-applicable': 2 })
    expect(seen.everythingTwice).toBe(103)
    expect(seen.releaseV1R1).toEqual({ active: 83, manual: 19, 'not-applicable': 2 })
  })

  it('put a report into the system that drags nothing with it', () => {
    expect(seen.report.hasContext).toBe(false)
    expect(seen.reportInEtc).toBe(true)
    expect(Object.keys(seen.report.parsed.rules)).toHaveLength(103)
    const unexplained = Object.entries(seen.report.parsed.rules).filter(
      ([, { expected, actual }]) => expected.length !== actual.length,
    )
    expect(unexplained).toEqual([])
  })

  it('track controls in the shape that users know', () => {
    const { active, inactive, activeBanner, activeKernel } = seen.tracking
    expect(Object.keys({ ...active, ...inactive })).toHaveLength(27)
    expect(active['banner']).toMatchObject({
      srg: expect.arrayContaining(['SRG-OS-000023-GPOS-00006']),
      cci: expect.arrayContaining(['CCI-000048']),
    })
    expect(inactive['account_expiry']).toMatchObject({
      srg: expect.arrayContaining(['SRG-OS-000002-GPOS-00002']),
      cci: expect.arrayContaining(['CCI-000016']),
    })
    expect(Object.keys(activeBanner.config)).toContain('services.openssh.banner')
    expect(activeKernel.config).toMatchObject({ 'boot.kernel.sysctl."kernel.randomize_va_space"': 2 })
  })

  it('evaluate with each control alone', () => {
    for (const [control, rules] of Object.entries(seen.eachControlAlone))
      expect([control, Object.values(rules)]).toEqual([control, Object.values(rules).map(() => true)])
  })

  it('keep what lists of the site say beside what controls add', () => {
    expect(seen.kernelParams).toEqual(
      expect.arrayContaining(['console=ttyS0', 'fips=1', 'audit=1', 'audit_backlog_limit=8192']),
    )
    expect(seen.pwqualityTogether).toMatch(/^retry = 3\n/)
    expect(seen.pwqualityTogether).toContain('minlen = 15\n')
    expect(seen.pamKeepsSession).toBe(true)
    expect(new Set(seen.auditRules).size).toBe(seen.auditRules.length)
  })

  it('define every destination that syslog-ng is told to use', () => {
    const named = [...seen.syslogText.matchAll(/(?:source|destination)\((\w+)\)/g)].map(([, name]) => name)
    const defined = [...seen.syslogText.matchAll(/^(?:source|destination) (\w+) /gm)].map(([, name]) => name)
    expect(named.length).toBeGreaterThan(2)
    expect(defined).toEqual(expect.arrayContaining(named))
    expect(seen.syslogText).toContain('peer-verify(yes)')
  })

  it('are not deceived by settings that undo a rule elsewhere', () => {
    expect(seen.rootHash['V-268138']).toBe('inactive')
    expect(seen.replacedSource).toMatchObject({ state: 'inactive' })
    expect(seen.replacedSource.definedIn.join()).toContain('site.nix')
  })

  it('tell no secret in the report', () => {
    expect(seen.rootHashIsNotTold).toBe(false)
    expect(seen.sssdSecretIsNotTold).toBe(false)
  })

  it('limit the rate of every open port, in the words of either firewall', () => {
    expect(seen.nftables).toBe('active')
    expect(seen.openPort).toBe('active')
  })

  it('record the fact that makes a rule not applicable', () => {
    for (const one of Object.values(seen.noPki))
      expect(one).toMatchObject({
        state: 'not-applicable',
        fact: { path: expect.stringContaining('pkiAuthentication') },
      })
  })

  it('refuse a disabled control without justification, naming the option', () => {
    expect(seen.disabledWithout).toEqual([
      expect.stringContaining('crystal-forge.stig.usbguard.justification'),
    ])
    expect(seen.disabledWith).toMatchObject({
      failed: [],
      rule: { state: 'justified', justification: ['no ports'] },
      inactive: { justification: ['no ports'], rules: { 'V-268139': 'justified' } },
    })
  })

  it('let the outcome decide, not the intention', () => {
    expect(seen.disabledButHolds).toBe('active')
    expect(seen.ruleOverControl).toBe(true)
    expect(seen.sharedRule).toBe(true)
  })

  it('refuse a disabled rule without a complete, unexpired waiver', () => {
    expect(seen.ruleWithout).toEqual([expect.stringContaining('crystal-forge.stig.rules."V-268139".waiver')])
    expect(seen.waiverIncomplete).toEqual(seen.ruleWithout)
    expect(seen.waiverExpired).toEqual([expect.stringContaining('expired on 2026-06-30')])
    expect(seen.ruleWithWaiver).toEqual({ failed: [], state: 'justified' })
    expect(seen.waiverMalformed).toBe(true)
    expect(seen.unknownRule).toBe(true)
  })

  it('mean by a preset the least severe category that is included', () => {
    const { off, low, medium, high } = seen.presets
    expect(high).toMatchObject({ baseline: 'cat1', expected: 11, failed: [] })
    expect(high?.warnings).toEqual([expect.stringContaining('leaves out 92 rules')])
    expect(medium).toMatchObject({ baseline: 'cat2', expected: 102, failed: [] })
    expect(medium?.warnings).toEqual([expect.stringContaining('leaves out 1 rules')])
    expect(low).toMatchObject({ baseline: 'all', expected: 103, failed: [], warnings: [] })
    expect(off).toMatchObject({
      baseline: 'off',
      expected: 0,
      failed: [],
      justification: ['Disabled via stig-presets.off'],
    })
    expect(seen.presetThenBaseline).toEqual([])
  })

  it('refuse two presets at once, and no baseline without a reason', () => {
    expect(seen.twoPresets).toEqual([expect.stringMatching(/stig-presets\.low.*stig-presets\.high/)])
    expect(seen.baselineOff).toEqual([expect.stringContaining('stig-presets.off.justification')])
  })

  it('fail the evaluation, warn, or only report, as told', () => {
    expect(seen.enforceAssertMessages).toEqual([
      expect.stringMatching(/V-268137.*PermitRootLogin.*site\.nix/),
    ])
    expect(seen.enforceReport).toEqual([])
  })

  it('take controls of a site, whose state follows the outcome too', () => {
    const { active, level, plain, lost, disabled } = seen.ownControl
    expect(active).toMatchObject({ srg: ['SRG-OS-000023-GPOS-00006'], cci: ['CCI-000048'] })
    expect(level).toBe(3)
    expect(plain).toBe(true)
    expect(lost).toMatchObject({ config: { 'networking.firewall.enable': true } })
    expect(disabled).toHaveLength(1)
  })
})
