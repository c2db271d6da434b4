import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { evaluateNix, harness, nix } from './evaluate.ts'

const machine = z.object({
  failed: z.array(z.string()),
  warnings: z.array(z.string()),
  units: z.array(z.string()),
})
const made = z.object({
  names: z.array(z.string()),
  tests: z.record(z.string(), z.object({ testScript: z.string(), machines: z.array(z.string()) })),
  machines: z.record(z.string(), z.record(z.string(), machine)),
})

const NAMES = ['attic-cache', 'builder', 'dashboard', 'database', 'deploy', 's3-cache', 'server', 'stig']

describe.skipIf(nix.version === null)(`the virtual machines of the checks ${nix.note}`, () => {
  let vm: z.infer<typeof made>
  beforeAll(
    async () => {
      vm = made.parse(await evaluateNix('vm-tests.nix', { generation: '24.11' }))
    },
    harness === undefined ? 60_000 : 600_000,
  )

  it('have the names that users know, in both spellings', () => {
    expect(vm.names.sort()).toEqual([...NAMES, 'attic_cache', 's3_cache'].sort())
    expect(Object.keys(vm.tests).sort()).toEqual(NAMES)
  })

  it.each(NAMES)('%s: every machine is a system whose assertions hold', (name) => {
    for (const [host, { failed, warnings }] of Object.entries(vm.machines[name] ?? {}))
      expect([host, failed, warnings]).toEqual([host, [], []])
  })

  it.each(NAMES)('%s: the script waits only for units that its machines have', (name) => {
    const units = Object.values(vm.machines[name] ?? {}).flatMap((one) => one.units)
    const [, own = ''] = (vm.tests[name]?.testScript ?? '').split('start_all()')
    for (const [, unit] of own.matchAll(/(?:unit\("|systemctl \w+ )(crystal-forge-[\w-]+)/g))
      expect([unit, units.includes(unit ?? '')]).toEqual([unit, true])
  })

  it.for(NAMES)('%s: the script is Python that the lint of NixOS lets pass', async (name, { skip }) => {
    const { testScript, machines } = vm.tests[name] ?? { testScript: '', machines: [] }
    const answer = await check({ script: testScript, machines })
    if (answer === undefined) return skip('python3 is not installed')
    expect(answer).toEqual({ code: 0, faults: '' })
  })

  it('a script with faults is told them', async ({ skip }) => {
    const script = 'import json\nimport os\nmachine.succed("x")\nassert json.loads(nope) == f"x"\n'
    const answer = await check({ script, machines: ['machine'] })
    if (answer === undefined) return skip('python3 is not installed')
    expect(answer.faults.split('\n').sort()).toEqual([
      '2: os is imported and not used',
      '3: machine.succed is not known',
      '4: an f-string without a value',
      '4: nope is not defined',
    ])
    expect((await check({ script: 'def x(:', machines: [] }))?.code).toBe(1)
  })
})

async function check(test: {
  readonly script: string
  readonly machines: readonly string[]
}): Promise<{ readonly code: number | null; readonly faults: string } | undefined> {
  const child = spawn('python3', [join(import.meta.dirname, 'check-test-script.py')], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const ended = new Promise<number | null | 'absent'>((resolve) => {
    child.once('error', () => resolve('absent'))
    child.once('close', resolve)
  })
  child.stdin.on('error', () => undefined).end(JSON.stringify(test))
  const [code, faults] = await Promise.all([ended, text(child.stdout)])
  return code === 'absent' ? undefined : { code, faults: faults.trim() }
}
