// Run by controls-unit.test.ts as root under a systemd of its own: starts the collectors as the NixOS module does, prints what they find
// there, without any unit, and in a unit that is allowed nothing, as one line of JSON.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { collectOverSocket } from '../../host-agent/src/collect-over-socket.ts'
import { parseCollected } from '../../host-agent/src/control-facts.ts'
import type { CollectedFacts } from '../../host-agent/src/controls/collect-facts.ts'

type Setting = string | number | boolean
export type UnitSettings = Readonly<Record<string, Setting | readonly Setting[]>>
export type ControlsUnit = { readonly unit: UnitSettings; readonly socket: UnitSettings }
export type ControlsUnitReport = Readonly<Record<'inUnit' | 'outside' | 'keptOut', CollectedFacts['facts']>>

const SYSTEM = '/nix/store/cccccccccccccccccccccccccccccccc-nixos-system-here-1'
/** What collectors run; in the profile of a NixOS host, here wherever the machine has it. */
const PROGRAMS = 'auditctl dconf ip6tables iptables lsblk nft nix sshd systemctl timedatectl'.split(' ')
const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

const [file = '', ...agent] = process.argv.slice(2)
const { unit, socket }: ControlsUnit = JSON.parse(readFileSync(file, 'utf8'))
const command = [process.execPath, ...agent, 'observe', '--controls', '--json']

prepareSystem()
prepareUser(String(unit['User']))
const own = { ...unit, ExecStart: command.join(' ') }
const allowedNothing = {
  ...own,
  AmbientCapabilities: '',
  CapabilityBoundingSet: '',
  PrivateDevices: true,
  ProtectHome: true,
  InaccessiblePaths: ['/etc/ssh', '-/etc/nixos', '-/var/log/journal'],
}
const report: ControlsUnitReport = {
  outside: parseCollected(run(command)).facts,
  inUnit: await collectIn('crystal-forge-agent-controls', own, socket),
  keptOut: await collectIn('crystal-forge-agent-kept-out', allowedNothing, {
    ...socket,
    ListenStream: '/run/kept-out.sock',
  }),
}
process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)

/** The mounts are those of this systemd alone. */
function prepareSystem(): void {
  mkdirSync('/nix/store', { recursive: true })
  run(['mount', '-t', 'tmpfs', 'tmpfs', '/nix/store'])
  mkdirSync(`${SYSTEM}/sw/bin`, { recursive: true })
  for (const name of PROGRAMS) {
    const found = DIRECTORIES.map((directory) => path.join(directory, name)).find((one) => existsSync(one))
    if (found !== undefined) symlinkSync(found, `${SYSTEM}/sw/bin/${name}`)
  }
  for (const link of ['/run/current-system', '/run/booted-system']) symlinkSync(SYSTEM, link)
}

function prepareUser(name: string): void {
  for (const [database, line] of [
    ['passwd', `${name}:x:64999:64999::/var/empty:/usr/sbin/nologin\n`],
    ['group', `${name}:x:64999:\n`],
  ] as const) {
    writeFileSync(`/run/${database}`, readFileSync(`/etc/${database}`, 'utf8') + line)
    run(['mount', '--bind', `/run/${database}`, `/etc/${database}`])
  }
}

async function collectIn(
  name: string,
  service: UnitSettings,
  listen: UnitSettings,
): Promise<CollectedFacts['facts']> {
  writeFileSync(`/run/systemd/system/${name}.socket`, `[Socket]\n${lines(listen)}`)
  writeFileSync(`/run/systemd/system/${name}@.service`, `[Service]\n${lines(service)}`)
  run(['systemctl', 'daemon-reload'])
  run(['systemctl', 'start', `${name}.socket`])
  const { facts } = await collectOverSocket(String(listen['ListenStream']), AbortSignal.timeout(120_000))
  return facts
}

function lines(settings: UnitSettings): string {
  const said = (value: Setting) => (typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value))
  return Object.entries(settings)
    .flatMap(([key, value]) => [value].flat().map((one) => `${key}=${said(one)}\n`))
    .join('')
}

function run([program = '', ...argv]: readonly string[]): string {
  return execFileSync(program, argv, { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 })
}
