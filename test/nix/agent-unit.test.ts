import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { generateKeyPair, keyId, renderSeed } from '@crystal-forge/protocol'
import { expect, it } from 'vitest'
import * as z from 'zod'
import { ControlPlaneStandIn } from '../../host-agent/test/control-plane-stand-in.ts'
import type { AgentUnit, AgentUnitReport } from './agent-unit-scenario.ts'
import { evaluateNix, harness } from './evaluate.ts'
import { systemdRunner } from './own-systemd.ts'

const runner = systemdRunner()
const setting = z.union([z.string(), z.number(), z.boolean()])
const settings = z.record(z.string(), z.union([setting, z.array(setting)]))
const evaluated = z.object({
  quickStart: z.object({
    units: z.looseObject({ 'crystal-forge-agent': z.object({ serviceConfig: settings }) }),
  }),
})

it.skipIf(runner.prefix === null)(
  `the agent in its unit rotates a key that is a credential, and goes on after it, after a restart, and with the next one that it is given ${runner.note}`,
  { timeout: harness === undefined ? 180_000 : 600_000 },
  async () => {
    const { quickStart } = evaluated.parse(await evaluateNix('services.nix', { generation: '24.11' }))
    const [given, later] = [generateKeyPair(), generateKeyPair()]
    const directory = await mkdtemp(path.join(tmpdir(), 'agent-unit-'))
    await using server = new ControlPlaneStandIn()
    for (const { publicKey } of [given, later]) server.addKey(publicKey, hostname())
    const world: AgentUnit = {
      unit: quickStart.units['crystal-forge-agent'].serviceConfig,
      serverUrl: await server.listen(),
      given: renderSeed(given.seed),
      givenLater: renderSeed(later.seed),
    }
    try {
      const file = path.join(directory, 'unit.json')
      await writeFile(file, JSON.stringify(world), { mode: 0o600 })
      const scenario = path.join(import.meta.dirname, 'agent-unit-scenario.ts')
      const agent = path.join(import.meta.dirname, '../../host-agent/src/main.ts')
      const [program = '', ...argv] = [...(runner.prefix ?? []), process.execPath, scenario, file, agent]
      const { stdout } = await promisify(execFile)(program, argv, { timeout: 170_000 })
      const report: AgentUnitReport = JSON.parse(/^REPORT (.*)$/m.exec(stdout)?.[1] ?? '')
      const { keyId: rotated, keyFile } = z
        .looseObject({ keyId: z.string(), keyFile: z.string() })
        .parse(report.rotated)
      const first = keyId(given.publicKey)
      expect(report.credentialMode).toMatch(/^[45]?00 root$/)
      expect(keyFile).toBe(`/var/lib/crystal-forge-agent/keys/${first.replace('ed25519:', '')}/current.key`)
      expect(report.startedWith).toEqual([first, rotated, keyId(later.publicKey)])
      expect([server.hasKey(first), server.hasKey(rotated)]).toEqual([false, true])
      expect(server.reports.length).toBeGreaterThanOrEqual(4)
      expect(server.violations).toEqual([])
    } finally {
      await rm(directory, { recursive: true })
    }
  },
)
