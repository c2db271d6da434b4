// Run by server-unit.test.ts as root under a systemd of its own: server and declaration in the units of the NixOS module. Prints what
// came of it.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { prepareSystem, run, type UnitSettings, writeUnit } from './own-systemd.ts'

type Unit = {
  readonly environment: Readonly<Record<string, string>>
  readonly script: string
  readonly serviceConfig: UnitSettings
}
export type ServerUnits = {
  readonly server: Unit
  readonly apply: Unit
  readonly settings: object
  readonly configFile: string
  readonly fleetFile: string
  readonly fleet: string
  readonly programs: { readonly server: string; readonly cf: string }
}
export type ServerUnitReport = {
  readonly status: unknown
  readonly state: string
  readonly secrets: string
  readonly systems: unknown
  readonly restarts: string
}

const [file = '', repository = ''] = process.argv.slice(2)
const units: ServerUnits = JSON.parse(readFileSync(file, 'utf8'))
const URL_OF_SERVER = 'http://127.0.0.1:3000'

prepareSystem()
run(['mount', '-t', 'tmpfs', 'tmpfs', '/var/lib'])
writeFileSync(
  '/run/passwd',
  `${readFileSync('/etc/passwd', 'utf8')}crystal-forge:x:40002:40002::/var/lib/crystal-forge:/bin/sh\n`,
)
writeFileSync('/run/group', `${readFileSync('/etc/group', 'utf8')}crystal-forge:x:40002:\n`)
run(['mount', '--bind', '/run/passwd', '/etc/passwd'])
run(['mount', '--bind', '/run/group', '/etc/group'])
program(units.programs.server, 'server/src/main.ts')
program(units.programs.cf, 'cli/src/main.ts')
writeFileSync(units.configFile, JSON.stringify(units.settings))
writeFileSync(units.fleetFile, units.fleet)
writeFileSync('/nix/store/apply', `#!/bin/bash\nset -e\n${units.apply.script}`, { mode: 0o755 })

writeUnit('crystal-forge-server.service', 'Service', settingsOf(units.server))
writeUnit('crystal-forge-apply.service', 'Service', {
  ...settingsOf(units.apply),
  ExecStart: '/nix/store/apply',
})
run(['systemctl', 'start', 'crystal-forge-server.service'])
const status = await answer()
run(['systemctl', 'start', 'crystal-forge-apply.service'])
const env = ['env', `CF_SERVER=${URL_OF_SERVER}`, 'CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token']
const systems = JSON.parse(run([...env, units.programs.cf, 'systems', '--json']))
run(['systemctl', 'restart', 'crystal-forge-server.service'])
await answer()
const report: ServerUnitReport = {
  status,
  state: run(['stat', '-c', '%a %U', '/var/lib/crystal-forge']).trim(),
  secrets: run(['stat', '-c', '%a %U', '/var/lib/crystal-forge/secrets/admin-token']).trim(),
  systems: systems.items,
  restarts: run(['systemctl', 'show', '-P', 'NRestarts', 'crystal-forge-server.service']).trim(),
}
run(['systemctl', 'stop', 'crystal-forge-server.service'])
process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)

/** A package of the store is a directory with the program, here the source of this checkout. */
function program(at: string, main: string): void {
  mkdirSync(path.dirname(at), { recursive: true })
  writeFileSync(at, `#!/bin/sh\nexec ${process.execPath} ${path.join(repository, main)} "$@"\n`)
  chmodSync(at, 0o755)
}

function settingsOf({ serviceConfig, environment }: Unit): UnitSettings {
  return {
    ...serviceConfig,
    StandardOutput: 'append:/run/unit.log',
    StandardError: 'append:/run/unit.log',
    Environment: Object.entries({ PATH: '/usr/bin:/bin', ...environment }).map(
      ([name, value]) => `${name}=${value}`,
    ),
  }
}

async function answer(): Promise<unknown> {
  for (let tries = 0; ; tries++) {
    const said = await fetch(`${URL_OF_SERVER}/status`).then(
      (one) => one.json(),
      () => undefined,
    )
    if (said !== undefined) return said
    if (tries > 400) throw new Error(`the server said: ${readFileSync('/run/unit.log', 'utf8')}`)
    await sleep(200)
  }
}
