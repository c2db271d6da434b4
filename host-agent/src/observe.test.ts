import { agentReport } from '@crystal-forge/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PreparedTree, preparedTree, SYSTEM_A, SYSTEM_B } from '../test/prepared-tree.ts'
import { parseUnits } from './collectors/failed-units.ts'
import { collectNetwork, parseDefaultRoute, parseInet6 } from './collectors/network.ts'
import { parseOsRelease } from './collectors/os-release.ts'
import { parseCpuinfo } from './collectors/processor.ts'
import { collectProtection } from './collectors/protection.ts'
import { parseRevision } from './collectors/revision.ts'
import { parseRootSource } from './collectors/root-file-system.ts'
import { readSystemPaths } from './collectors/system-paths.ts'
import { type Observation, observe } from './observe.ts'
import { heartbeatReport, stateReport } from './report.ts'
import { rootedTree } from './rooted-tree.ts'

let tree: PreparedTree
beforeEach(async () => {
  tree = await preparedTree()
})
afterEach(async () => {
  await tree[Symbol.asyncDispose]()
})

async function look(): Promise<Observation> {
  const seen = await observe(rootedTree(tree.root))
  if (!seen.ok) throw new Error(seen.because)
  return seen.observation
}

describe('a look at a prepared tree', () => {
  it('finds what a NixOS host shows', async () => {
    await tree.link('etc/static', '/nix/store/cccccccccccccccccccccccccccccccc-etc/etc')
    await tree.link('etc/os-release', '/etc/static/os-release')
    await tree.write(
      'nix/store/cccccccccccccccccccccccccccccccc-etc/etc/os-release',
      'NAME=NixOS\nPRETTY_NAME="NixOS 25.11 (Xantusia)"\nVERSION="25.11 (Xantusia)"\nVERSION_ID="25.11"\n',
    )
    await tree.write(
      `${SYSTEM_A}/sw/bin/nixos-version`,
      'cat <<EOF\n{"configurationRevision":"a5fd3ee30236379eac5b7bc3ddc09a25aab4b59d","nixosVersion":"25.11"}\nEOF\n',
    )
    await tree.write(
      'proc/cpuinfo',
      'processor\t: 0\nmodel name\t: AMD EPYC\nmicrocode\t: 0x1000065\n\nprocessor\t: 1\n',
    )
    await tree.write('sys/class/dmi/id/bios_version', '1.16.3\n')
    await tree.write('sys/class/dmi/id/board_serial', 'Not Specified\n')
    await tree.write('sys/class/net/eth0/address', '02:00:00:00:00:01\n')
    await tree.write('sys/class/net/lo/address', '00:00:00:00:00:00\n')
    await tree.write('sys/class/tpm/tpm0/active', '1')
    await tree.write(
      'proc/net/route',
      'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n',
    )
    await tree.write('proc/self/mountinfo', '27 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw\n')
    await tree.write('dev/vda1', '')
    await tree.link('dev/disk/by-uuid/0d6a5e1c-77aa-4c3a-9a3f-3c4f0a7f1f10', '../../vda1')

    expect(await look()).toEqual({
      hostname: 'web-1',
      paths: { current: SYSTEM_A, booted: SYSTEM_A, profile: SYSTEM_A, generation: 1 },
      bootId: '6a7e7e5c-6f1d-4d0e-9c55-0d8cf5a3c001',
      uptimeSeconds: 1234,
      revision: 'a5fd3ee30236379eac5b7bc3ddc09a25aab4b59d',
      failedUnits: undefined,
      fingerprint: {
        os: 'NixOS 25.11 (Xantusia)',
        kernel: '6.12.60',
        nixos_version: '25.11 (Xantusia)',
        memory_bytes: 24_683_656 * 1024,
        cpu_cores: 2,
        cpu_brand: 'AMD EPYC',
        cpu_microcode: '0x1000065',
        board_serial: null,
        product_uuid: null,
        rootfs_uuid: '0d6a5e1c-77aa-4c3a-9a3f-3c4f0a7f1f10',
        chassis_serial: null,
        bios_version: '1.16.3',
        network_interfaces: [
          { name: 'eth0', mac_address: '02:00:00:00:00:01', ip_addresses: [] },
          { name: 'lo', mac_address: null, ip_addresses: [] },
        ],
        primary_mac_address: '02:00:00:00:00:01',
        primary_ip_address: null,
        gateway_ip: '192.0.2.1',
        selinux_status: null,
        tpm_present: true,
        secure_boot_enabled: null,
        fips_mode: false,
      },
    })
  })

  it('makes reports that the protocol accepts, of this tree and of the machine that runs the tests', async () => {
    const stamp = { reportId: '0123456789abcdef', at: new Date('2026-11-22T19:00:00Z') }
    const bare = await look()
    await tree.link('run/current-system', SYSTEM_B)
    const machine = await observe({ ...rootedTree('/'), linkTarget: rootedTree(tree.root).linkTarget })
    if (!machine.ok) throw new Error(machine.because)
    for (const seen of [bare, machine.observation]) {
      expect(agentReport.parse(stateReport(seen, 'startup', stamp))).toMatchObject({ kind: 'state' })
      expect(agentReport.parse(heartbeatReport(seen, 'a'.repeat(64), stamp))).toMatchObject({
        kind: 'heartbeat',
      })
    }
  })

  it('makes heartbeats of at most 300 bytes', async () => {
    const seen = { ...(await look()), hostname: 'h'.repeat(64), uptimeSeconds: 315_360_000 }
    const report = heartbeatReport(seen, 'a'.repeat(64), { reportId: 'r'.repeat(22), at: new Date() })
    expect(Buffer.byteLength(JSON.stringify(report))).toBeLessThanOrEqual(300)
  })

  it('says why it sees nothing', async () => {
    await tree.link('run/current-system', '/somewhere/else')
    expect(await observe(rootedTree(tree.root))).toMatchObject({
      ok: false,
      because: expect.stringMatching(/run\/current-system/),
    })
    await tree.write('etc/hostname', '-\n')
    expect(await observe(rootedTree(tree.root))).toMatchObject({
      ok: false,
      because: expect.stringMatching(/no host name/),
    })
  })

  it('takes control characters and overlong texts of firmware as they come, shortened to one line', async () => {
    await tree.write('sys/class/dmi/id/bios_version', `a\u0007b\n${'😀'.repeat(150)}`)
    const { bios_version } = (await look()).fingerprint
    expect(bios_version).toMatch(/^a b 😀+$/u)
    expect(bios_version?.length).toBeLessThanOrEqual(200)
  })
})

describe('a rooted tree', () => {
  it('keeps absolute links, parent links and its own name inside', async () => {
    await tree.write('a/file', 'inside')
    await tree.link('absolute', '/a/file')
    await tree.link('above', '../../../../../../../a/file')
    await tree.link('named', `${tree.root}/a/file`)
    const rooted = rootedTree(tree.root)
    for (const link of ['/absolute', '/above', '/named']) expect(await rooted.text(link)).toBe('inside')
  })

  it('gives up on links in a circle, on missing files and on directories', async () => {
    await tree.link('x', '/y')
    await tree.link('y', '/x')
    const rooted = rootedTree(tree.root)
    expect(await rooted.text('/x')).toBeNull()
    expect(await rooted.text('/missing/file')).toBeNull()
    expect(await rooted.text('/etc')).toBeNull()
    expect(await rooted.list('/etc/hostname')).toBeNull()
  })

  it('reads no more of a file than its limit', async () => {
    await tree.write('big', 'x'.repeat(1000))
    expect((await rootedTree(tree.root).bytes('/big', 10))?.length).toBe(10)
  })
})

describe('system paths', () => {
  it('follow the profile over its generation', async () => {
    await tree.link('nix/var/nix/profiles/system-42-link', SYSTEM_B)
    await tree.link('nix/var/nix/profiles/system', 'system-42-link')
    expect(readSystemPaths(rootedTree(tree.root))).toEqual({
      current: SYSTEM_A,
      booted: SYSTEM_A,
      profile: SYSTEM_B,
      generation: 42,
    })
  })

  it('are null where a link is missing or leads to no store path', async () => {
    await tree.link('nix/var/nix/profiles/system', 'elsewhere')
    await tree.link('run/booted-system', '/nix/store/short-name')
    expect(readSystemPaths(rootedTree(tree.root))).toEqual({
      current: SYSTEM_A,
      booted: null,
      profile: null,
      generation: null,
    })
  })
})

describe('protection', () => {
  it.each<[string, readonly number[], boolean | null]>([
    ['on', [6, 0, 0, 0, 1], true],
    ['off', [6, 0, 0, 0, 0], false],
    ['a variable of another shape', [1], null],
    ['a value that is neither', [6, 0, 0, 0, 7], null],
  ])('reads secure boot: %s', async (_, bytes, expected) => {
    const file = 'sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c'
    await tree.write(file, new Uint8Array(bytes))
    expect(await collectProtection(rootedTree(tree.root))).toMatchObject({ secure_boot_enabled: expected })
  })

  it('knows that a machine without EFI has no secure boot, and that a hidden variable says nothing', async () => {
    await tree.write('sys/firmware/acpi/x', '')
    expect((await collectProtection(rootedTree(tree.root))).secure_boot_enabled).toBe(false)
    await tree.write('sys/firmware/efi/x', '')
    expect((await collectProtection(rootedTree(tree.root))).secure_boot_enabled).toBeNull()
  })

  it.each([
    ['1', 'enforcing', true],
    ['0', 'permissive', false],
  ])('reads SELinux and FIPS %s', async (value, selinux_status, fips_mode) => {
    await tree.write('sys/fs/selinux/enforce', value)
    await tree.write('proc/sys/crypto/fips_enabled', `${value}\n`)
    expect(await collectProtection(rootedTree(tree.root))).toMatchObject({ selinux_status, fips_mode })
  })
})

describe('the network', () => {
  it('leaves out temporary addresses and spells the others in one way', async () => {
    await tree.write('sys/class/net/eth0/address', '02:00:00:00:00:01')
    await tree.write(
      'proc/net/if_inet6',
      '20010db8000000000000000000000001 02 40 00 80     eth0\n20010db8000000000000000000000bad 02 40 00 01     eth0\n',
    )
    const address = { netmask: '', mac: '', internal: false }
    const running = {
      eth0: [
        { ...address, family: 'IPv4' as const, address: '192.0.2.7', cidr: null },
        { ...address, family: 'IPv6' as const, address: '2001:db8:0::1', cidr: null, scopeid: 0 },
        { ...address, family: 'IPv6' as const, address: '2001:db8::bad', cidr: null, scopeid: 0 },
      ],
    }
    const rooted = rootedTree(tree.root)
    expect((await collectNetwork(rooted, running)).network_interfaces).toMatchObject([
      { name: 'eth0', ip_addresses: ['192.0.2.7', '2001:db8::1'] },
    ])
    expect((await collectNetwork(rooted, null)).network_interfaces).toMatchObject([
      { name: 'eth0', ip_addresses: ['2001:db8::1'] },
    ])
  })

  it('reports at most 64 interfaces, those of containers last', async () => {
    for (let at = 0; at < 80; at++) await tree.write(`sys/class/net/veth${at}/address`, '02:00:00:00:00:02')
    await tree.write('sys/class/net/wlan0/address', '02:00:00:00:00:01')
    const { network_interfaces } = await collectNetwork(rootedTree(tree.root), null)
    expect(network_interfaces).toHaveLength(64)
    expect(network_interfaces[0]?.name).toBe('wlan0')
  })

  it('chooses the default route with the lowest metric', () => {
    const header = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n'
    const route = (name: string, gateway: string, flags: string, metric: number) =>
      `${name}\t00000000\t${gateway}\t${flags}\t0\t0\t${metric}\t00000000\t0\t0\t0\n`
    const table = header + route('wlan0', '0102A8C0', '0003', 600) + route('eth0', '010200C0', '0003', 100)
    expect(parseDefaultRoute(table)).toEqual({ interface: 'eth0', gateway: '192.0.2.1' })
    expect(parseDefaultRoute(header + route('tun0', '00000000', '0001', 0))).toBeNull()
    expect(parseDefaultRoute('')).toBeNull()
  })

  it('ignores lines that it does not understand', () => {
    expect(parseInet6('garbage\n\nfe80 1 2 3 4 eth0')).toEqual([])
  })
})

describe('parsers', () => {
  it('read os-release with every kind of quotes', () => {
    expect(Object.fromEntries(parseOsRelease('A=x\nB="y \\"z\\""\nC=\'q\'\n# D=1\nE=\n'))).toEqual({
      A: 'x',
      B: 'y "z"',
      C: 'q',
      E: '',
    })
  })

  it('know a processor without model and microcode', () => {
    expect(parseCpuinfo('processor\t: 0\nBogoMIPS\t: 50.00\n')).toEqual({
      cpu_cores: 1,
      cpu_brand: null,
      cpu_microcode: null,
    })
    expect(parseCpuinfo('').cpu_cores).toBeNull()
  })

  it('read failed units with and without a bullet', () => {
    expect(
      parseUnits('nginx.service loaded failed failed A web server\n● a@b.service loaded failed failed\n\n'),
    ).toEqual(['a@b.service', 'nginx.service'])
    expect(parseUnits('')).toEqual([])
  })

  it('find the last device on / only', () => {
    expect(
      parseRootSource('1 0 0:1 / / rw - rootfs rootfs rw\n2 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw'),
    ).toBe('/dev/sda1')
    expect(parseRootSource('1 0 0:1 / /nix rw - ext4 /dev/sda2 rw')).toBeNull()
    expect(parseRootSource('1 0 0:1 / / rw - zfs tank/root rw')).toBeNull()
  })

  it('take no revision from a script that has none', () => {
    expect(parseRevision('{"nixosVersion":"25.11"}')).toBeNull()
    expect(parseRevision('{"configurationRevision": "abc-dirty"}')).toBe('abc-dirty')
  })
})
