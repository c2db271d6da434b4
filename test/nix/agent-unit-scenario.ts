// Run by agent-unit.test.ts as root under a systemd of its own: the agent in the unit of the NixOS module, whose key is a credential. The
// key is rotated under it, it is restarted, and then the operator gives another key. Prints what the agent logged.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { prepareSystem, run, SYSTEM, type UnitSettings, writeUnit } from './own-systemd.ts'

export type AgentUnit = {
  readonly unit: UnitSettings
  readonly serverUrl: string
  /** What the operator gives first and then, as key files hold it. */
  readonly given: string
  readonly givenLater: string
}
type Line = { readonly message?: string; readonly key?: string }
export type AgentUnitReport = {
  readonly rotated: unknown
  readonly credentialMode: string
  /** Ids of the keys that the agent started with. */
  readonly startedWith: readonly (string | undefined)[]
  readonly accepted: number
}

const [file = '', main = ''] = process.argv.slice(2)
const { unit, serverUrl, given, givenLater }: AgentUnit = JSON.parse(readFileSync(file, 'utf8'))
const NAME = 'crystal-forge-agent.service'
const SOURCE = '/run/operator.key'
const LOG = '/run/agent.log'
const CREDENTIAL = `/run/credentials/${NAME}/host.key`
const environment = {
  PATH: '/usr/bin:/bin',
  CRYSTAL_FORGE__CLIENT__SERVER_URL: serverUrl,
  CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: CREDENTIAL,
  CRYSTAL_FORGE__CLIENT__CONTROL_FACTS: 'false',
}

prepareSystem()
// systemd mounts credentials in a namespace of the unit, from where they are to be seen outside, as on a machine that it booted.
run(['mount', '--make-rshared', '/'])
// State of services is made below it; that of this machine stays out of sight.
run(['mount', '-t', 'tmpfs', 'tmpfs', '/var/lib'])
writeFileSync(SOURCE, given, { mode: 0o600 })
writeUnit(NAME, 'Service', {
  ...unit,
  ExecStart: `${process.execPath} ${main} run`,
  LoadCredential: `host.key:${SOURCE}`,
  StandardError: `append:${LOG}`,
  Environment: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
})
run(['systemctl', 'start', NAME])
await accepted(1)
const credentialMode = run(['stat', '-c', '%a %U', CREDENTIAL]).trim()
const rotated = JSON.parse(
  execFileSync(process.execPath, [main, 'rotate-key', '--json'], { encoding: 'utf8', env: environment }),
)
switchTo(`${SYSTEM.slice(0, -1)}2`)
await accepted(2)
run(['systemctl', 'restart', NAME])
await accepted(3)
writeFileSync(SOURCE, givenLater, { mode: 0o600 })
run(['systemctl', 'restart', NAME])
await accepted(4)
run(['systemctl', 'stop', NAME])
const startedWith = log().flatMap(({ message, key }) => (message === 'started' ? [key] : []))
const report: AgentUnitReport = { rotated, credentialMode, startedWith, accepted: countAccepted() }
process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)

function switchTo(system: string): void {
  symlinkSync(system, '/run/current-system.new')
  renameSync('/run/current-system.new', '/run/current-system')
}

async function accepted(count: number): Promise<void> {
  for (let tries = 0; countAccepted() < count; tries++) {
    if (tries > 600) throw new Error(`the agent logged: ${JSON.stringify(log())}`)
    await sleep(100)
  }
}

function countAccepted(): number {
  return log().filter(({ message }) => message?.includes('was accepted')).length
}

function log(): readonly Line[] {
  if (!existsSync(LOG)) return []
  const whole = readFileSync(LOG, 'utf8').split('\n').slice(0, -1)
  return whole.map((line) => (line.startsWith('{') ? JSON.parse(line) : { message: line }))
}
