import { chmod, chown, mkdir } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import * as z from 'zod'
import type { Host } from '../../host-agent/src/controls/collector.ts'
import { hostOf, recorded } from '../../host-agent/test/collected-hosts.ts'
import { type PreparedTree, preparedTree, SYSTEM_A } from '../../host-agent/test/prepared-tree.ts'
import {
  asAuditctlLists,
  asAuditctlSays,
  asDconfReads,
  asSshdPrints,
  asTimedatectlShows,
} from './as-programs-print.ts'

const atom = z.union([z.string(), z.number(), z.boolean()])
/** What `test/nix/installed.nix` says that a configuration puts on a host. */
export const configuration = z.object({
  files: z.record(z.string(), z.string()),
  sshd: z.record(z.string(), z.union([atom, z.array(z.string())])),
  sshdExtra: z.string(),
  auditRules: z.array(z.string()),
  auditBacklogLimit: z.number(),
  kernelParams: z.array(z.string()),
  sysctl: z.record(z.string(), atom),
  nix: z.object({ 'allowed-users': z.array(z.string()), 'require-sigs': z.boolean() }),
  packages: z.array(z.string()),
  units: z.array(z.string()),
  knownUnits: z.array(z.string()).nullable(),
  dconf: z.record(z.string(), z.record(z.string(), z.json())),
  firewall: z.object({ enable: z.boolean(), extraCommands: z.string() }),
  wireless: z.boolean(),
  bluetooth: z.boolean(),
  autologin: z.string().nullable(),
})
export type Configuration = z.infer<typeof configuration>

/** A host as NixOS makes it of a configuration, with the rest (accounts, disks, the clock) as a host has it that nothing is wrong with. */
export async function configuredHost(of: Configuration): Promise<{ tree: PreparedTree; host: Host }> {
  const tree = await preparedTree()
  const files = {
    ...WITHOUT_CONFIGURATION,
    ...of.files,
    '/etc/ssh/sshd_config': `${asSshdPrints('', of.sshd)}${of.sshdExtra}`,
    ...ofKernel(of),
    ...ofHardware(of),
    ...ofProfile(of),
  }
  for (const [file, content] of Object.entries(files)) await tree.write(file.replace(/^\//, ''), content)
  for (const [file, mode] of Object.entries(MODES)) {
    await mkdir(path.join(tree.root, path.dirname(file)), { recursive: true })
    if (mode.directory) await mkdir(path.join(tree.root, file), { recursive: true })
    await chmod(path.join(tree.root, file), mode.mode)
    if (IS_ROOT && mode.gid !== undefined) await chown(path.join(tree.root, file), 0, mode.gid)
  }
  return { tree, host: { ...hostOf(tree, programsOf(of)), now: () => new Date('2026-11-24T00:00:00Z') } }
}

/** Only root can give a file to another group. */
export const IS_ROOT: boolean = process.getuid?.() === 0

function programsOf(of: Configuration): Record<string, string> {
  const usual = recorded('lax/auditctl-s.txt')
  return {
    'sshd -T': asSshdPrints(recorded('lax/sshd-T.txt'), { ...of.sshd, Banner: BANNER }),
    'auditctl -l': asAuditctlLists(of.auditRules),
    'auditctl -s': asAuditctlSays(usual, of.auditRules, of.auditBacklogLimit),
    'iptables -w 5 -S': filterOf(of, 'compliant/iptables-S.txt'),
    'ip6tables -w 5 -S': filterOf(of, 'compliant/ip6tables-S.txt'),
    'nft -j list ruleset': recorded('lax/nft-ruleset.json'),
    'lsblk --json': recorded('compliant/lsblk.json'),
    'nix config show': JSON.stringify(
      Object.fromEntries(Object.entries(of.nix).map(([name, value]) => [name, { value }])),
    ),
    'timedatectl show-timesync': asTimedatectlShows(
      recorded('lax/timedatectl-show-timesync.txt'),
      of.files['/etc/systemd/timesyncd.conf'] ?? '',
    ),
    'timedatectl show ': recorded('compliant/timedatectl-show.txt'),
    ...Object.fromEntries(
      Object.values(of.dconf).flatMap((settings) =>
        Object.entries(settings).map(([name, value]) => [
          `dconf read /${name}`,
          asDconfReads(typeof value === 'object' ? undefined : value),
        ]),
      ),
    ),
    'dconf read': '',
    ...unitsOf(of),
  }
}

/** The rules that were recorded are those of these lines: another line would have to be recorded. */
function filterOf({ firewall }: Configuration, file: string): string {
  if (!firewall.enable) return recorded('lax/iptables-S.txt')
  const loaded = recorded('compliant/firewall.sh').split('\n')
  const limits = firewall.extraCommands.split('\n').filter((line) => line.includes('--match hashlimit'))
  const strange = limits.find((line) => !loaded.includes(line))
  if (strange !== undefined) throw new Error(`compliant/firewall.sh was recorded without ${strange}`)
  return limits.length > 0 ? recorded(file) : recorded(file).replace(/^.*hashlimit.*\n/gm, '')
}

function unitsOf({ units }: Configuration): Record<string, string> {
  const show = 'systemctl show --property=ActiveState,SubState,LoadState,UnitFileState --'
  const block = (unit: string) =>
    recorded(units.includes(unit) ? 'compliant/systemctl-show.txt' : 'lax/systemctl-show.txt')
  return Object.fromEntries(
    ['sshd.service sshd.socket', ...units, 'systemctl show'].map((names) => [
      names === 'systemctl show' ? names : `${show} ${names}`,
      names === 'systemctl show' ? block('none') : names.split(' ').map(block).join('\n'),
    ]),
  )
}

function ofKernel({ kernelParams, sysctl }: Configuration): Record<string, string> {
  const settings = Object.entries(sysctl).map(([name, value]) => [
    `/proc/sys/${name.replaceAll('.', '/')}`,
    `${typeof value === 'boolean' ? Number(value) : value}\n`,
  ])
  const last = (name: string) => kernelParams.filter((one) => one.startsWith(`${name}=`)).at(-1)
  return {
    ...Object.fromEntries(settings),
    '/proc/cmdline': `initrd=\\efi\\nixos init=/nix/store/x/init ${kernelParams.join(' ')}\n`,
    '/proc/sys/crypto/fips_enabled': last('fips') === 'fips=1' ? '1\n' : '0\n',
    '/sys/module/apparmor/parameters/enabled': last('apparmor') === 'apparmor=1' ? 'Y\n' : 'N\n',
  }
}

function ofHardware({ wireless, bluetooth, autologin }: Configuration): Record<string, string> {
  return {
    '/sys/class/net/eth0/flags': '0x1003\n',
    ...(wireless
      ? { '/sys/class/net/wlan0/flags': '0x1003\n', '/sys/class/net/wlan0/phy80211/index': '0\n' }
      : {}),
    ...(bluetooth ? { '/sys/class/bluetooth/hci0/type': 'primary\n' } : {}),
    ...(autologin === null
      ? {}
      : { '/etc/gdm/custom.conf': `[daemon]\nAutomaticLoginEnable=true\nAutomaticLogin=${autologin}\n` }),
  }
}

/** Which programs a package brings, as far as a rule asks for one. */
const PROGRAMS: Readonly<Record<string, string>> = {
  aide: 'aide',
  audit: 'auditctl',
  busybox: 'telnet',
  inetutils: 'telnet',
  opencryptoki: 'p11sak',
  vlock: 'vlock',
}

function ofProfile({ packages }: Configuration): Record<string, string> {
  const programs = packages.flatMap((name) => PROGRAMS[name] ?? [])
  return Object.fromEntries(['nixos-version', ...programs].map((name) => [`${SYSTEM_A}/sw/bin/${name}`, '']))
}

const BANNER = '/nix/store/00000000000000000000000000000000-ssh_banner'
/** systemd-journal has this number on NixOS. */
const JOURNAL_GID = 62
const OWNER = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

const WITHOUT_CONFIGURATION: Readonly<Record<string, string>> = {
  '/etc/passwd': `root:x:${OWNER.uid}:0:System administrator:/root:/run/current-system/sw/bin/bash\nsshd:x:998:998::/var/empty:/run/current-system/sw/bin/nologin\n`,
  '/etc/group': `root:x:${OWNER.gid}:\nsystemd-journal:x:${JOURNAL_GID}:\n`,
  // As update-users-groups.pl writes a line: the seventh field, the limit of inactivity, is empty.
  '/etc/shadow': 'root:!:1::::::\nsshd:!:1::::::\n',
  '/etc/os-release': 'ID=nixos\nVERSION_ID="26.05"\n',
  '/etc/sssd/pki/sssd_auth_ca_db.pem': recorded('compliant/certificates.pem'),
  '/etc/nixos/configuration.nix': '{ }\n',
  '/etc/systemd/system/auditd.service': '[Service]\n',
  '/proc/self/mountinfo': '21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n',
  '/root/.profile': '',
  '/var/log/audit/audit.log': '',
  '/var/log/journal/system.journal': '',
}

type Mode = { readonly mode: number; readonly gid?: number; readonly directory?: boolean }
const MODES: Readonly<Record<string, Mode>> = {
  'etc/audit/auditd.conf': { mode: 0o444 },
  'etc/systemd/system/auditd.service': { mode: 0o444 },
  'var/log/audit/audit.log': { mode: 0o600 },
  'var/log/audit': { mode: 0o700 },
  'var/log/journal/system.journal': { mode: 0o640, gid: JOURNAL_GID },
  'var/log/journal': { mode: 0o2755, gid: JOURNAL_GID },
  tmp: { mode: 0o1777, directory: true },
}
