import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { generateKeyPair, renderPublicKey, renderSeed } from '@crystal-forge/protocol'
import { type FleetRepository, fleetRepository } from '../fixtures/fleet/repository.ts'
import { type ControlPlane, connectControlPlane } from './control-plane.ts'
import { type HostTree, hostTree } from './host-tree.ts'
import { deliverPush } from './push.ts'
import type { Reporter } from './stages.ts'
import { type Program, type Supervised, supervise } from './supervise.ts'
import { waitFor } from './wait-for.ts'

export type DemoOptions = {
  /** Everything the demo makes lies here; a new directory. */
  readonly directory: string
  readonly reporter: Reporter
  /** Node 24, which runs the programs from source. */
  readonly node: string
  readonly root: string
  /** A version of openssl instead of the fleet's, so that every derivation is a new one. */
  readonly salt?: string
  /** Builder and agents are led to the address that this makes of the real one; tests stand there and interfere. */
  readonly cross?: (target: string) => Promise<string>
}

/** A running demo: its parts can be looked at and killed, and `stop` ends all of them. */
export type Demo = {
  readonly directory: string
  readonly server: Supervised
  readonly builder: Supervised
  readonly agents: ReadonlyMap<string, Supervised>
  readonly trees: ReadonlyMap<string, HostTree>
  readonly repository: FleetRepository
  readonly hookPath: string
  readonly hookSecret: string
  readonly controlPlane: ControlPlane
  /** Runs `cf` as an operator would; resolves to what it printed. */
  cf(...args: string[]): Promise<string>
  stop(): Promise<void>
}

const run = promisify(execFile)

/** What a host runs before anything of the flake was deployed to it. */
export const INSTALLED_BY_HAND = '/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-nixos-system-installer-25.05'

/** The hosts that report; the other configurations of the fleet are declared, and never seen. */
export const REPORTING_HOSTS = ['web-1', 'web-2'] as const
export const DECLARED_HOSTS = ['web-1', 'web-2', 'db-1', 'legacy-1', 'broken-eval', 'broken-build'] as const

/** Starts server, builder and two host agents as separate processes and declares the fleet. */
export async function startDemo(options: DemoOptions): Promise<Demo> {
  const { directory, reporter } = options
  const path = (...parts: string[]): string => join(directory, ...parts)
  await Promise.all(['keys', 'logs', 'hosts'].map((name) => mkdir(path(name), { recursive: true })))
  const made = fleetRepository(path('fleet'))
  const repository = options.salt === undefined ? made : salted(made, options.salt)
  const keys = await writeKeys(path('keys'))
  const running: Supervised[] = []
  const begin = (program: Omit<Program, 'cwd' | 'logFile'>): Supervised => {
    const supervised = supervise(
      { ...program, cwd: directory, logFile: path('logs', `${program.name}.log`) },
      (name, how) => reporter.say(`  ${name} ended (${how}); started again`),
    )
    running.push(supervised)
    return supervised
  }
  const stop = async (): Promise<void> => {
    for (const program of running.reverse()) await program.stop()
  }
  try {
    const server = begin(serverProgram(options))
    const controlPlane = await connectControlPlane(path('data', 'server.json'), 60_000)
    reporter.say(`control plane      ${controlPlane.facts.url}  (pid ${controlPlane.facts.pid})`)
    await reporter.reached('server started')
    const hookSecret = randomBytes(24).toString('hex')
    await writeFile(path('keys', 'hook.secret'), hookSecret, { mode: 0o600 })
    await writeFile(path('fleet.toml'), fleetToml(repository.path, keys))
    const cf = (...args: string[]): Promise<string> => runCf(options, controlPlane, args)
    const plan = await cf('apply', '-f', path('fleet.toml'), '--json')
    const hookPath = hookPathOf(plan)
    reporter.say(`fleet              cf apply: ${DECLARED_HOSTS.length} hosts, 1 flake, 1 builder`)
    await reporter.reached('fleet applied')
    const reach = await reachOf(options, controlPlane)
    const builder = begin(await builderProgram(options, controlPlane, reach))
    const agents = new Map<string, Supervised>()
    const trees = new Map<string, HostTree>()
    for (const host of REPORTING_HOSTS) {
      const tree = await hostTree(path('hosts', host), host)
      await tree.switchTo(INSTALLED_BY_HAND)
      trees.set(host, tree)
      agents.set(host, begin(await agentProgram(options, reach, host)))
    }
    const parts = {
      directory,
      server,
      builder,
      agents,
      trees,
      repository,
      hookPath,
      hookSecret,
      controlPlane,
      cf,
    }
    return { ...parts, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Delivers a push of `rev` as the forge would, again while the server is away. */
export async function push(demo: Demo, rev: string): Promise<void> {
  await waitFor('the delivery of a push', async () => {
    const delivered = await deliverPush({
      url: new URL(demo.hookPath, demo.controlPlane.facts.url).href,
      secret: demo.hookSecret,
      cloneUrl: `file://${demo.repository.path}`,
      branch: 'main',
      rev,
    }).catch(() => undefined)
    if (delivered === undefined || delivered.status >= 500) return undefined
    if (delivered.status >= 300)
      throw new Error(`the push was refused: ${delivered.status} ${JSON.stringify(delivered.body)}`)
    return delivered
  })
}

function salted(repository: FleetRepository, version: string): FleetRepository {
  const rev = repository.commit({
    file: 'versions.json',
    replace: '"openssl": "3.0.13"',
    by: `"openssl": "${version}"`,
  })
  return { ...repository, rev }
}

type Keys = ReadonlyMap<string, string>

async function writeKeys(directory: string): Promise<Keys> {
  const keys = new Map<string, string>()
  for (const name of ['builder', ...REPORTING_HOSTS]) {
    const { seed, publicKey } = generateKeyPair()
    await writeFile(join(directory, `${name}.key`), `${renderSeed(seed)}\n`, { mode: 0o600 })
    keys.set(name, renderPublicKey(publicKey))
  }
  return keys
}

function fleetToml(repository: string, keys: Keys): string {
  const systems = DECLARED_HOSTS.map((host) => {
    const key = keys.get(host)
    return [
      '[[systems]]',
      `hostname = "${host}"`,
      ...(key === undefined ? [] : [`public_key = "${key}"`]),
      'environment = "production"',
      'flake_name = "fleet"',
      'deployment_policy = "manual"',
    ].join('\n')
  })
  return [
    '[[environments]]\nname = "production"\nrisk_profile = "HIGH"\ncompliance_level = "STIG"',
    `[[flakes]]\nname = "fleet"\nrepo_url = "${repository}"\nlocal = true\nbranch = "main"\nauto_poll = false`,
    '[[hooks]]\nflake = "fleet"\nprovider = "github"\nsecret_file = "keys/hook.secret"',
    `[[builders]]\nname = "builder-1"\npublic_key = "${keys.get('builder')}"`,
    ...systems,
    '',
  ].join('\n\n')
}

function hookPathOf(planJson: string): string {
  const found = /"path":\s*"(\/v1\/hooks\/[A-Za-z0-9_-]+)"/.exec(planJson)?.[1]
  if (found === undefined) throw new Error(`cf apply named no hook: ${planJson}`)
  return found
}

async function runCf(
  options: DemoOptions,
  controlPlane: ControlPlane,
  args: readonly string[],
): Promise<string> {
  const { stdout } = await run(options.node, [join(options.root, 'cli/src/main.ts'), ...args], {
    cwd: options.directory,
    env: {
      PATH: process.env['PATH'] ?? '',
      CF_SERVER: controlPlane.facts.url,
      CF_TOKEN_FILE: controlPlane.facts.adminTokenFile,
    },
    maxBuffer: 16 * 1024 * 1024,
  })
  return stdout
}

type Named = Omit<Program, 'cwd' | 'logFile'>

function serverProgram({ node, root, directory }: DemoOptions): Named {
  return {
    name: 'server',
    argv: [node, join(root, 'server/src/main.ts'), '--data-dir', join(directory, 'data')],
    environment: {
      ...inherited(directory),
      CRYSTAL_FORGE__SERVER__PORT: '0',
      CRYSTAL_FORGE__SERVER__NEXT_REPORT_IN_S: '5',
      CRYSTAL_FORGE__SERVER__LEASE_S: '6',
      CRYSTAL_FORGE__SERVER__SWEEP_EVERY_S: '1',
    },
  }
}

/** Where builder and agents find the control plane, and the host that they sign for. */
type Reach = { readonly url: string; readonly awsEndpoint: string; readonly authority: string }

async function reachOf({ cross }: DemoOptions, { facts }: ControlPlane): Promise<Reach> {
  const { url, awsEndpoint } = facts
  const authority = new URL(url).host
  if (cross === undefined) return { url, awsEndpoint, authority }
  return { url: await cross(url), awsEndpoint: await cross(awsEndpoint), authority }
}

async function builderProgram(
  { node, root, directory }: DemoOptions,
  { facts }: ControlPlane,
  reach: Reach,
): Promise<Named> {
  const config = join(directory, 'builder.toml')
  const text = `[builder]
server_url = "${reach.url}"
authority = "${reach.authority}"
private_key = "${join(directory, 'keys/builder.key')}"
job_public_key = "${facts.jobPublicKey}"
state_directory = "${join(directory, 'builder')}"
local_flakes = ["${join(directory, 'fleet')}"]
aws_endpoint = "${reach.awsEndpoint}"

[build]
max_concurrent_derivations = 2
`
  await writeFile(config, text)
  return {
    name: 'builder-agent',
    argv: [node, join(root, 'builder-agent/src/main.ts'), 'run'],
    environment: { ...inherited(directory), CRYSTAL_FORGE_CONFIG: config },
  }
}

async function agentProgram(
  { node, root, directory }: DemoOptions,
  reach: Reach,
  host: string,
): Promise<Named> {
  const config = join(directory, 'hosts', `${host}.toml`)
  const text = `[client]
server_url = "${reach.url}"
authority = "${reach.authority}"
private_key = "${join(directory, `keys/${host}.key`)}"
state_directory = "${join(directory, 'hosts', `${host}.state`)}"
root = "${join(directory, 'hosts', host)}"
heartbeat_interval = 5
`
  await writeFile(config, text)
  return {
    name: `host-agent-${host}`,
    argv: [node, join(root, 'host-agent/src/main.ts'), 'run'],
    environment: { ...inherited(directory), CRYSTAL_FORGE_CONFIG: config },
  }
}

function inherited(directory: string): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: directory, TMPDIR: process.env['TMPDIR'] ?? '/tmp' }
}

/** What a program wrote, for an error message; the end says most. */
export async function logTail(demo: Pick<Demo, 'directory'>, name: string): Promise<string> {
  const text = await readFile(join(demo.directory, 'logs', `${name}.log`), 'utf8').catch(() => '')
  return text.slice(-3000)
}

export async function removeDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true, maxRetries: 3 })
}
