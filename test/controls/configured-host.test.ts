import { assess, type ControlResult, type RuntimeEvidence } from '@crystal-forge/control-plane'
import { stigReport } from '@crystal-forge/protocol'
import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { type CollectedFacts, collectFacts } from '../../host-agent/src/controls/collect-facts.ts'
import { COLLECTORS } from '../../host-agent/src/controls/collectors.ts'
import { QUESTIONS } from '../../host-agent/src/controls/questions.generated.ts'
import { recorded } from '../../host-agent/test/collected-hosts.ts'
import { evaluateNix, harness, MOVED, nix } from '../nix/evaluate.ts'
import { type Configuration, configuration, configuredHost, IS_ROOT } from './configured-host.ts'
import { demoHost, TOPLEVEL, theCatalogue } from './demo-host.ts'

/**
 * A rule is stated twice: what a configuration must evaluate to, and what a host must show. Here one leads to the other: the modules are
 * evaluated, a host is made of what they put on it, the collectors look at it, and the checks judge what they saw.
 */

const catalogue = theCatalogue()
const AT = new Date('2026-11-24T00:00:00Z')
const installed = z.object({
  report: stigReport,
  configured: configuration,
  contrary: z.record(z.string(), configuration),
})

/** Where a contrary line of the configuration is no contrary sight of the host: what the check says all the same, and why. */
const NOT_SHOWN: Readonly<Record<string, readonly ['agrees' | 'unknown', string]>> = {
  'V-268124': ['agrees', 'DISA asks for the bundle of certificates, which stays when sssd is off'],
  'V-268138': ['agrees', 'that accounts could be changed unlocks none; the host shows that root is locked'],
  'V-268144': ['agrees', 'disks are not made by a configuration; the host shows them as they are'],
  'V-268149': ['agrees', 'timesyncd has a list of its own, which the line does not touch'],
  'V-268179': ['agrees', 'DISA asks for a file, which stays when pam_p11 is off; V-268177 asks for that'],
}
/** What only root can prepare. */
const NEEDS_ROOT = IS_ROOT ? [] : ['V-268116']

describe.skipIf(nix.version === null)(`a host that the modules configure ${nix.note}`, () => {
  describe.each<[string, readonly string[] | undefined]>(
    harness === undefined
      ? [
          ['24.11', undefined],
          ['25.11', MOVED],
        ]
      : [['24.11', undefined]],
  )('%s', (generation, only) => {
    let made: z.infer<typeof installed>
    beforeAll(
      async () => {
        const args = only === undefined ? { generation } : { generation, only }
        made = installed.parse(await evaluateNix('installed.nix', args))
      },
      harness === undefined ? 120_000 : 900_000,
    )

    it('shows what every rule asks for, and passes', async () => {
      const controls = resultsOf(await factsOf(made.configured))
      expect(controls.size).toBe(103)
      const unseen = [...controls].filter(([, { observed }]) => observed.kind !== 'agrees')
      expect(unseen.map(([rule, { observed }]) => [rule, observed.because])).toEqual(
        NEEDS_ROOT.map((rule) => [rule, expect.any(String)]),
      )
      const others = [...controls].map(([rule, { state, reason }]) => [rule, `${state}: ${reason}`] as const)
      expect(others.filter(([rule, said]) => !PASSES.has(said) && !NEEDS_ROOT.includes(rule))).toEqual([])
    })

    it('with a contrary line shows that, for every rule that a line can break', {
      timeout: 300_000,
    }, async () => {
      const unseen: [string, string | undefined][] = []
      for (const [rule, one] of Object.entries(made.contrary)) {
        const kind = resultsOf(await factsOf(one, rule)).get(rule)?.observed.kind
        if (kind !== 'disagrees') unseen.push([rule, kind])
      }
      const known = Object.entries(NOT_SHOWN).map(([rule, [kind]]) => [rule, kind])
      expect(unseen).toEqual(known.filter(([rule = '']) => rule in made.contrary))
    })

    it('has the audit rules that a kernel was seen to take', () => {
      // auditctl printed compliant/auditctl-l.txt after it had loaded these; others are to be recorded anew.
      expect(made.configured.auditRules).toEqual(recorded('compliant/audit.rules').trim().split('\n'))
    })

    it('has every unit that a rule asks for', ({ skip }) => {
      const { knownUnits, units } = made.configured
      if (knownUnits === null) return skip('the units of NixOS are known with its own modules only')
      expect(units.filter((unit) => !knownUnits.includes(unit))).toEqual([])
    })

    function resultsOf(facts: CollectedFacts): ReadonlyMap<string, ControlResult> {
      const evaluation = {
        id: 'evl_1',
        toplevel: TOPLEVEL,
        evaluatedAt: AT,
        report: made.report,
        reportSha256: '0'.repeat(64),
      }
      const host = demoHost(catalogue, AT, { evaluation, runtime: evidenceOf(facts) })
      const [assessed] = assess(catalogue, { at: AT, hosts: [host], waivers: [] }).hosts
      return new Map((assessed?.controls ?? []).map((control) => [control.rule, control]))
    }
  })
})

/** A person must speak for some; nothing else may stand between a rule and its pass. */
const PASSES: ReadonlySet<string> = new Set([
  'pass: proven',
  'pass: undeclared',
  'not_reviewed: person_needed',
])

/** What the collectors see of a host, or those of them that one rule asks. */
async function factsOf(of: Configuration, rule?: string): Promise<CollectedFacts> {
  const asked =
    rule === undefined ? null : catalogue.rules.get(rule)?.assess.runtime.map((one) => one.collector)
  const questions = QUESTIONS.filter(({ collector }) => asked?.includes(collector) ?? true)
  const { tree, host } = await configuredHost(of)
  await using _ = tree
  return await collectFacts(host, questions, COLLECTORS)
}

function evidenceOf({ facts }: CollectedFacts): RuntimeEvidence[] {
  return facts.map((fact) => ({
    id: 'cfm_1',
    toplevel: TOPLEVEL,
    collector: fact.collector,
    args: fact.args,
    values: 'value' in fact ? fact.value : null,
    error: 'error' in fact ? `${fact.error.code}: ${fact.error.detail}` : null,
    collectedAt: AT,
  }))
}
