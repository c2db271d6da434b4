import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import type { ControlFact } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import type { ControlsUnit, ControlsUnitReport } from './controls-unit-scenario.ts'
import { evaluateNix, harness } from './evaluate.ts'
import { systemdRunner } from './own-systemd.ts'

/**
 * The collectors run in the unit that the module makes for them, under a real systemd: what they find there must be what they find without
 * it, and what a unit keeps them from must be an error, never a value that looks like "none".
 */

const runner = systemdRunner()
const directory = realpathSync(mkdtempSync(path.join(tmpdir(), 'controls-unit-')))
const setting = z.union([z.string(), z.number(), z.boolean()])
const settings = z.record(z.string(), z.union([setting, z.array(setting)]))
const evaluated = z.object({ controls: z.object({ unit: settings, socket: settings }) })

describe.skipIf(runner.prefix === null)(`the unit of the collectors ${runner.note}`, () => {
  let report: ControlsUnitReport
  beforeAll(
    async () => {
      const { controls } = evaluated.parse(await evaluateNix('services.nix', { generation: '24.11' }))
      const file = path.join(directory, 'unit.json')
      writeFileSync(file, JSON.stringify(controls satisfies ControlsUnit))
      const scenario = path.join(import.meta.dirname, 'controls-unit-scenario.ts')
      const agent = path.join(import.meta.dirname, '../../host-agent/src/main.ts')
      const [program = '', ...argv] = [...(runner.prefix ?? []), process.execPath, scenario, file, agent]
      const printed = execFileSync(program, argv, {
        encoding: 'utf8',
        maxBuffer: 16 * 1024 * 1024,
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: 280_000,
      })
      report = JSON.parse(/^REPORT (.*)$/m.exec(printed)?.[1] ?? '')
    },
    harness === undefined ? 300_000 : 900_000,
  )
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('lets every collector find what it finds without a unit', () => {
    const pairs = report.inUnit.flatMap((fact, at) => {
      const outside = report.outside[at]
      return outside === undefined || isTimeout(fact) || isTimeout(outside) ? [] : [[fact, outside] as const]
    })
    const found = (facts: readonly ControlFact[]) => facts.map((fact) => [nameOf(fact), answerOf(fact)])
    expect(found(pairs.map(([inUnit]) => inUnit))).toEqual(found(pairs.map(([, outside]) => outside)))
    expect(pairs.length).toBeGreaterThan(50)
  })

  it('is what lets them: kept from something they say so, and never that there is none', () => {
    for (const [at, kept] of report.keptOut.entries()) {
      const outside = report.outside[at]
      if ('error' in kept || outside === undefined || isTimeout(outside)) continue
      // Part of what is wrong is still wrong; a part of nothing would be a pass.
      if (nameOf(kept) === 'world-writable {}') expect(kept.value).not.toMatchObject({ withoutStickyBit: [] })
      else expect([nameOf(kept), answerOf(kept)]).toEqual([nameOf(kept), answerOf(outside)])
    }
    expect(answerOf(factOf(report.keptOut, 'shadow'))).toBe('not_permitted')
    expect(answerOf(factOf(report.keptOut, 'private-keys'))).toBe('not_permitted')
  })

  it.for(['audit-rules', 'audit-status', 'netfilter', 'sshd'])(
    'is permitted to look: %s',
    (collector, { skip }) => {
      const outside = factOf(report.outside, collector)
      if ('error' in outside)
        return skip(`root is not told here either (${outside.error.code}: ${outside.error.detail})`)
      expect(factOf(report.inUnit, collector)).toHaveProperty('value')
      expect(answerOf(factOf(report.keptOut, collector))).toBe('not_permitted')
    },
  )
})

function nameOf({ collector, args }: ControlFact): string {
  return `${collector} ${JSON.stringify(args)}`
}

/** The value, or why there is none; words may name a place or a number. */
function answerOf(fact: ControlFact): unknown {
  return 'error' in fact ? fact.error.code : fact.value
}

/** A machine that does other work says nothing of a unit. */
function isTimeout(fact: ControlFact): boolean {
  return 'error' in fact && fact.error.code === 'timeout'
}

function factOf(facts: readonly ControlFact[], collector: string): ControlFact {
  const found = facts.find((fact) => fact.collector === collector)
  if (found === undefined) throw new Error(`nothing was asked of ${collector}`)
  return found
}
