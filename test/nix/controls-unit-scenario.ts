// Run by controls-unit.test.ts as root under a systemd of its own: starts the collectors as the NixOS module does, prints what they find
// there, without any unit, and in a unit that is allowed nothing, as one line of JSON.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { collectOverSocket } from '../../host-agent/src/collect-over-socket.ts'
import { parseCollected } from '../../host-agent/src/control-facts.ts'
import type { CollectedFacts } from '../../host-agent/src/controls/collect-facts.ts'
import { prepareSystem, run, type UnitSettings, writeUnit } from './own-systemd.ts'

export type ControlsUnit = { readonly unit: UnitSettings; readonly socket: UnitSettings }
export type ControlsUnitReport = Readonly<Record<'inUnit' | 'outside' | 'keptOut', CollectedFacts['facts']>>

const [file = '', ...agent] = process.argv.slice(2)
const { unit, socket }: ControlsUnit = JSON.parse(readFileSync(file, 'utf8'))
const command = [process.execPath, ...agent, 'observe', '--controls', '--json']

prepareSystem()
hideTheRest(path.dirname(path.dirname(import.meta.dirname)))
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

/** Writable directories are looked for everywhere; what lies beside the repository, and in other people's directories, is no part of it. */
function hideTheRest(repository: string): void {
  mkdirSync('/run/repository')
  run(['mount', '--bind', repository, '/run/repository'])
  const around = path.dirname(repository)
  for (const directory of ['/root', '/home', '/tmp', '/var/tmp', ...(around === '/' ? [] : [around])])
    if (existsSync(directory)) run(['mount', '-t', 'tmpfs', 'tmpfs', directory])
  mkdirSync(repository, { recursive: true })
  run(['mount', '--bind', '/run/repository', repository])
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
  writeUnit(`${name}.socket`, 'Socket', listen)
  writeUnit(`${name}@.service`, 'Service', service)
  run(['systemctl', 'start', `${name}.socket`])
  const { facts } = await collectOverSocket(String(listen['ListenStream']), AbortSignal.timeout(290_000))
  return facts
}
