import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  findScanner,
  findStore,
  gitEnvironment,
  isolationAvailable,
  isSupported,
  type NixSetup,
  parseNixVersion,
  prepareHome,
  probeSandbox,
  runCommand,
  type Sandbox,
} from '@crystal-forge/nix-cli'
import type { SecretSeed } from '@crystal-forge/protocol'
import type { BuilderConfig } from './config.ts'
import type { Machine } from './job-context.ts'

/**
 * Finds out once what this machine can do: which Nix, which store, whether builds can be sandboxed and limited, whether
 * there is a scanner.
 * @throws {Error} with the remedy when it cannot build at all.
 */
export async function examineMachine(
  config: BuilderConfig,
  around: {
    readonly path: string
    readonly seed: SecretSeed
    /** Of the state directory. */
    readonly tag: string
    readonly signal: AbortSignal
  },
): Promise<Machine> {
  const uid = process.getuid?.() ?? 0
  const found = await findStore({ uid })
  if (found.kind === 'none') throw new Error(found.reason)
  const nix: NixSetup = {
    path: around.path,
    home: join(config.state_directory, 'home'),
    store: found.store,
    git: gitAccess(config),
  }
  await prepareHome(nix)
  const nixVersion = await readNixVersion(around.path)
  const isolation = config.build.use_systemd_scope
    ? await isolationAvailable(found.store, { uid })
    : ({ kind: 'none', reason: 'build.use_systemd_scope is false' } as const)
  return {
    config,
    nix,
    nixVersion,
    sandbox: await chooseSandbox(config, nix, around.signal),
    isolation,
    scanner: await findScanner({ PATH: around.path, HOME: nix.home }),
    buildUsersGroup: found.store.kind === 'daemon' ? '' : await findBuildUsersGroup(),
    tag: around.tag,
    policy: { hosts: config.forges, localPaths: config.local_flakes },
    git: {
      env: gitEnvironment({ path: around.path, home: nix.home, access: nix.git }),
      policy: { hosts: config.forges, localPaths: config.local_flakes },
      timeoutMs: GIT_MS_MAX,
    },
    seed: around.seed,
  }
}

function gitAccess(config: BuilderConfig): NixSetup['git'] {
  const { ssh_key_path: key, ssh_known_hosts_path: hosts, netrc_path: netrc } = config.auth
  return {
    localAllowed: config.local_flakes.length > 0,
    ...(key === undefined ? {} : { sshKeyFile: key }),
    ...(hosts === undefined ? {} : { knownHostsFile: hosts }),
    ...(netrc === undefined ? {} : { netrcFile: netrc }),
  }
}

/** Where the machine has Nix's users for builds, a builder is none of root's processes. Debian's package makes none. */
async function findBuildUsersGroup(): Promise<string> {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '')
  return /^nixbld:[^:]*:[0-9]+:[^\n,]/m.test(groups) ? 'nixbld' : ''
}

async function readNixVersion(path: string): Promise<string> {
  const outcome = await runCommand({
    program: 'nix',
    args: ['--version'],
    env: { PATH: path },
    timeoutMs: 30_000,
  })
  const version = outcome.kind === 'exited' ? parseNixVersion(outcome.stdout.trim()) : null
  if (version === null) throw new Error('nix cannot be run: install it, or put it on PATH')
  if (!isSupported(version)) throw new Error(`Nix ${version.text} is too old: 2.8 or newer is needed`)
  return version.text
}

async function chooseSandbox(config: BuilderConfig, nix: NixSetup, signal: AbortSignal): Promise<Sandbox> {
  if (!config.build.sandbox) return { kind: 'off', reason: 'build.sandbox is false' }
  return probeSandbox(nix, { nonce: randomUUID(), signal })
}

const GIT_MS_MAX = 300_000
