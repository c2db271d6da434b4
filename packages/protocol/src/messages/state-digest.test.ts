import { describe, expect, it } from 'vitest'
import { type StateReport, stateDigest } from './index.ts'

const report: StateReport = {
  v: 1,
  kind: 'state',
  report_id: '0123456789abcdef',
  hostname: 'web-1',
  collected_at: '2026-11-22T19:00:00Z',
  change_reason: 'startup',
  store_path: '/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-nixos-system-web-1-25.11',
  failed_units: ['a.service', 'b.service'],
  fingerprint: {
    memory_bytes: 8_000_000_000,
    network_interfaces: [
      {
        name: 'eth0',
        mac_address: '02:00:00:00:00:01',
        ip_addresses: ['192.0.2.1', 'fe80::1', '2001:db8::1'],
      },
      { name: 'veth12ab', mac_address: '02:00:00:00:00:02', ip_addresses: ['172.17.0.2'] },
    ],
  },
}
const eth0 = { name: 'eth0', mac_address: '02:00:00:00:00:01', ip_addresses: ['192.0.2.1', '2001:db8::1'] }

function withInterfaces(
  ...interfaces: NonNullable<NonNullable<StateReport['fingerprint']>['network_interfaces']>
) {
  return { ...report, fingerprint: { ...report.fingerprint, network_interfaces: interfaces } }
}

describe('the digest of a state', () => {
  it.each<[string, StateReport]>([
    [
      'another message about the same host',
      { ...report, report_id: 'fedcba9876543210', change_reason: 'state_delta' },
    ],
    ['a later look', { ...report, collected_at: '2026-11-23T19:00:00Z', system: 'sys_1' }],
    ['failed units in another order', { ...report, failed_units: ['b.service', 'a.service'] }],
    ['a container that is gone', withInterfaces(eth0)],
    ['addresses in another order', withInterfaces({ ...eth0, ip_addresses: ['2001:db8::1', '192.0.2.1'] })],
    [
      'interfaces of containers, bridges and machines',
      withInterfaces(
        { name: 'docker0', mac_address: null, ip_addresses: ['172.17.0.1'] },
        { name: 'br-77aa', mac_address: null, ip_addresses: ['172.18.0.1'] },
        { name: 'virbr0', mac_address: null, ip_addresses: ['192.168.122.1'] },
        { name: 'cni0', mac_address: null, ip_addresses: [] },
        { name: 'lo', mac_address: null, ip_addresses: ['127.0.0.1'] },
        { ...eth0, ip_addresses: ['169.254.7.7', '192.0.2.1', '2001:db8::1', 'FE80::2'] },
      ),
    ],
  ])('stays with %s', (_, other) => {
    expect(stateDigest(other)).toBe(stateDigest(report))
  })

  it.each<[string, StateReport]>([
    ['another system', { ...report, store_path: `${report.store_path}x` }],
    ['a unit that failed', { ...report, failed_units: ['a.service', 'b.service', 'c.service'] }],
    ['more memory', { ...report, fingerprint: { ...report.fingerprint, memory_bytes: 16_000_000_000 } }],
    ['another address', withInterfaces({ ...eth0, ip_addresses: ['192.0.2.2', '2001:db8::1'] })],
    ['another network card', withInterfaces({ ...eth0, mac_address: '02:00:00:00:00:09' })],
    ["an operator's bridge", withInterfaces(eth0, { name: 'br0', mac_address: null, ip_addresses: [] })],
    ['a boot', { ...report, boot_id: 'b' }],
    ['units that were not read', { ...report, failed_units: undefined }],
  ])('changes with %s', (_, other) => {
    expect(stateDigest(other)).not.toBe(stateDigest(report))
  })

  it('does not change the report', () => {
    const before = structuredClone(report)
    stateDigest(report)
    expect(report).toEqual(before)
  })

  it('is this one for this report, on both sides of the wire', () => {
    expect(stateDigest(report)).toBe('529658486c334c1e79098b9679c69b04d6e3afb6d509b20831f3fdfbfc71401f')
  })
})
