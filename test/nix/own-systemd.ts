import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { nix } from './evaluate.ts'

type Setting = string | number | boolean
/** `[Service]` or `[Socket]`, as a module gives them. */
export type UnitSettings = Readonly<Record<string, Setting | readonly Setting[]>>

/** Starts a systemd of its own; lies beside the repository where that is possible. */
const WITH_SYSTEMD = path.join(import.meta.dirname, '../../../shared/tools/with-systemd.sh')

/** How a scenario with units of an evaluation is started; null with the reason where it cannot be. */
export function systemdRunner(): { readonly prefix: readonly string[] | null; readonly note: string } {
  const none = (because: string) => ({ prefix: null, note: `(skipped: ${because})` })
  if (nix.version === null) return none('nix is not installed')
  if (process.getuid?.() !== 0) return none('a systemd of its own needs root')
  if (!existsSync(WITH_SYSTEMD)) return none('there is no with-systemd.sh beside the repository')
  if (!existsSync('/usr/bin/systemctl') && !existsSync('/bin/systemctl')) return none('there is no systemd')
  const first = readFileSync('/proc/1/comm', 'utf8').trim()
  return {
    prefix: [WITH_SYSTEMD],
    note: first === 'systemd' ? '(systemd of this machine)' : '(its own systemd)',
  }
}

export const SYSTEM = '/nix/store/cccccccccccccccccccccccccccccccc-nixos-system-here-1'
/** What collectors run; in the profile of a NixOS host, here wherever the machine has it. */
const PROGRAMS = 'auditctl dconf ip6tables iptables lsblk nft nix sshd systemctl timedatectl'.split(' ')
const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Inside: makes this machine look like a NixOS host to what runs under that systemd; the mounts are its own. */
export function prepareSystem(): void {
  mkdirSync('/nix/store', { recursive: true })
  run(['mount', '-t', 'tmpfs', 'tmpfs', '/nix/store'])
  mkdirSync(`${SYSTEM}/sw/bin`, { recursive: true })
  for (const name of PROGRAMS) {
    const found = DIRECTORIES.map((directory) => path.join(directory, name)).find((one) => existsSync(one))
    if (found !== undefined) symlinkSync(found, `${SYSTEM}/sw/bin/${name}`)
  }
  for (const link of ['/run/current-system', '/run/booted-system']) symlinkSync(SYSTEM, link)
}

/** Inside: a unit of this section. */
export function writeUnit(name: string, section: 'Service' | 'Socket', settings: UnitSettings): void {
  writeFileSync(`/run/systemd/system/${name}`, `[${section}]\n${lines(settings)}`)
  run(['systemctl', 'daemon-reload'])
}

export function run([program = '', ...argv]: readonly string[]): string {
  return execFileSync(program, argv, { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 })
}

function lines(settings: UnitSettings): string {
  const said = (value: Setting) => (typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value))
  return Object.entries(settings)
    .flatMap(([key, value]) => [value].flat().map((one) => `${key}=${said(one)}\n`))
    .join('')
}
