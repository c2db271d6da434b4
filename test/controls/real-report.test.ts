import { assess } from '@crystal-forge/control-plane'
import { stigReport } from '@crystal-forge/protocol'
import { expect, test } from 'vitest'
import { evaluateNix, nix } from '../nix/evaluate.ts'
import { demoHost, TOPLEVEL, theCatalogue } from './demo-host.ts'

test.skipIf(nix.version === null)(
  `what Nix says of every rule, the server says of the same values ${nix.note}`,
  { timeout: 300_000 },
  async () => {
    const catalogue = theCatalogue()
    const report = stigReport.parse(await evaluateNix('report.nix', { generation: '24.11' }))
    expect(report.catalogueSha256).toBe(catalogue.sha256)
    expect(Object.keys(report.params ?? {})).toContain('timeServers')
    const at = new Date('2026-11-24T12:00:00Z')
    const evaluation = {
      id: 'evl_1',
      toplevel: TOPLEVEL,
      evaluatedAt: at,
      report,
      reportSha256: '0'.repeat(64),
    }
    const { hosts } = assess(catalogue, {
      at,
      hosts: [demoHost(catalogue, at, { evaluation, runtime: [] })],
      waivers: [],
    })
    const controls = hosts[0]?.controls ?? []
    expect(controls).toHaveLength(103)
    for (const { rule, configured, state } of controls) {
      expect([rule, configured.state, configured.defect]).toEqual([rule, report.rules[rule]?.state, null])
      expect(state).not.toBe('pass')
    }
  },
)
