import { access, mkdir, symlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { StorePath } from '@crystal-forge/protocol'
import { type GitAccess, gitEnvironment } from './git-environment.ts'
import { describeOutcome, runCommand } from './run-command.ts'

/**
 * Where derivations and outputs live. `local` opens /nix/store directly (root), so that builders run below us and limits reach them;
 * `daemon` asks nix-daemon, which runs them out of our reach; `rooted` is a store of its own under a directory.
 */
export type NixStore =
  | { readonly kind: 'local' }
  | { readonly kind: 'daemon' }
  | { readonly kind: 'rooted'; readonly root: string }

export type NixSetup = {
  /** Directories that hold nix, git, ssh and systemd-run, separated by colons. */
  readonly path: string
  /** A directory of ours alone: HOME, caches and fetched sources. `prepareHome` makes it. */
  readonly home: string
  readonly store: NixStore
  readonly git: GitAccess
}

export type EvaluationSettings = {
  /** Prefixes of URIs that inputs of a flake may come from, for example `https://git.example.com/`. */
  readonly allowedUris: readonly string[]
  /** Building during evaluation gives a flake the builder's processor without a build's limits. */
  readonly importFromDerivation: boolean
}

export type BuildSettings = {
  readonly sandbox: Sandbox
  readonly substituters: readonly string[]
  readonly trustedPublicKeys: readonly string[]
  readonly maxJobs: number
  /** Cores for one derivation; 0 leaves it to the machine. */
  readonly cores: number
  /** The group whose members run builders; empty runs them as the caller (root). */
  readonly buildUsersGroup: string
}

export type Sandbox =
  | { readonly kind: 'on'; readonly paths: readonly string[] }
  | { readonly kind: 'off'; readonly reason: string }

/** The whole environment for reading a flake that nobody trusts yet (facts of Nix, safety rules). Nothing of the machine's nix.conf is read. */
export function evaluationEnvironment(
  setup: NixSetup,
  settings: EvaluationSettings,
): Readonly<Record<string, string>> {
  return environment(setup, {
    ...COMMON,
    'pure-eval': 'true',
    'restrict-eval': 'true',
    'allowed-uris': settings.allowedUris.join(' '),
    'allow-import-from-derivation': String(settings.importFromDerivation),
    ...(setup.store.kind === 'daemon' ? {} : { ...PRIVILEGED, 'build-users-group': '', substituters: '' }),
  })
}

/** The whole environment for building and for reading and writing the store. */
export function buildEnvironment(setup: NixSetup, settings: BuildSettings): Readonly<Record<string, string>> {
  const { sandbox } = settings
  return environment(setup, {
    ...COMMON,
    'max-jobs': String(settings.maxJobs),
    cores: String(settings.cores),
    // The daemon has settings of its own and ignores these from a user that it does not trust.
    ...(setup.store.kind === 'daemon'
      ? {}
      : {
          ...PRIVILEGED,
          'build-users-group': settings.buildUsersGroup,
          substituters: settings.substituters.join(' '),
          'trusted-public-keys': settings.trustedPublicKeys.join(' '),
          sandbox: String(sandbox.kind === 'on'),
          'sandbox-fallback': 'false',
          ...(sandbox.kind === 'on' && sandbox.paths.length > 0
            ? { 'extra-sandbox-paths': sandbox.paths.join(' ') }
            : {}),
        }),
  })
}

/** Names the store on the command line, so that neither NIX_REMOTE nor a running daemon decides it. */
export function storeArguments(store: NixStore): readonly string[] {
  switch (store.kind) {
    case 'local':
      return ['--store', 'local']
    case 'daemon':
      return ['--store', 'daemon']
    case 'rooted':
      return ['--store', `local?root=${store.root}`]
  }
}

/** Where the file system has a path of the store. */
export function physicalPath(store: NixStore, path: StorePath): string {
  return store.kind === 'rooted' ? join(store.root, path) : path
}

export type FoundStore =
  | { readonly kind: 'found'; readonly store: NixStore }
  | { readonly kind: 'none'; readonly reason: string }

/** Root uses the store directly; anyone else needs a daemon. */
export async function findStore(user: {
  readonly uid: number
  readonly daemonSocket?: string
}): Promise<FoundStore> {
  if (user.uid === 0) return { kind: 'found', store: { kind: 'local' } }
  const socket = user.daemonSocket ?? '/nix/var/nix/daemon-socket/socket'
  try {
    await access(socket)
    return { kind: 'found', store: { kind: 'daemon' } }
  } catch {
    return {
      kind: 'none',
      reason: `user ${user.uid} cannot write /nix/store and there is no nix-daemon at ${socket}; run as root or start nix-daemon`,
    }
  }
}

/** Makes the home directory for the programs, closed to others, with the netrc file where git looks for it. */
export async function prepareHome(setup: NixSetup): Promise<void> {
  await mkdir(setup.home, { recursive: true, mode: 0o700 })
  const link = join(setup.home, '.netrc')
  await unlink(link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (setup.git.netrcFile !== undefined) await symlink(setup.git.netrcFile, link)
}

/**
 * Finds out by a build whether this machine can sandbox. Debian's Nix 2.8 puts no shell into a sandbox, so the machine's own
 * directories are tried second. `nonce` makes the derivation a new one; reusing it would answer from the store.
 */
export async function probeSandbox(
  setup: NixSetup,
  probe: { nonce: string; signal?: AbortSignal },
): Promise<Sandbox> {
  if (setup.store.kind === 'daemon') {
    return {
      kind: 'off',
      reason: 'nix-daemon decides about the sandbox; see "sandbox" in the nix.conf of the machine',
    }
  }
  let reason = ''
  for (const paths of [[], MACHINE_SHELL]) {
    const outcome = await runCommand({
      program: 'nix-build',
      args: [
        ...storeArguments(setup.store),
        '--no-out-link',
        '--argstr',
        'nonce',
        `${probe.nonce}-${paths.length}`,
        '-E',
        PROBE,
      ],
      env: buildEnvironment(setup, { ...PROBE_SETTINGS, sandbox: { kind: 'on', paths } }),
      timeoutMs: PROBE_TIMEOUT_MS,
      ...(probe.signal === undefined ? {} : { signal: probe.signal }),
    })
    if (outcome.kind === 'exited' && outcome.code === 0) return { kind: 'on', paths }
    reason = describeOutcome('nix-build', outcome)
  }
  return { kind: 'off', reason: `a sandboxed build does not work here: ${reason}` }
}

function environment(
  setup: NixSetup,
  settings: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return {
    ...gitEnvironment({ path: setup.path, home: setup.home, access: setup.git }),
    ...(setup.git.caFile === undefined ? {} : { NIX_SSL_CERT_FILE: setup.git.caFile }),
    // A directory that does not exist: no nix.conf but ours.
    NIX_CONF_DIR: join(setup.home, 'no-nix-conf'),
    NIX_USER_CONF_FILES: '',
    NIX_CONFIG: nixConfig({
      ...settings,
      ...(setup.git.netrcFile === undefined ? {} : { 'netrc-file': setup.git.netrcFile }),
    }),
  }
}

/** @throws RangeError for a value with a line break, which would add settings of its own. */
function nixConfig(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => {
      if (/[\r\n#]/.test(value))
        throw new RangeError(`${name} must not contain a line break or "#": ${JSON.stringify(value)}`)
      return `${name} = ${value}\n`
    })
    .join('')
}

const COMMON = {
  'experimental-features': 'nix-command flakes',
  'accept-flake-config': 'false',
  'warn-dirty': 'false',
  'connect-timeout': '15',
}

/** Settings that a daemon takes from root only. */
const PRIVILEGED = {
  'require-sigs': 'true',
  'filter-syscalls': 'true',
  'post-build-hook': '',
  'plugin-files': '',
  builders: '',
  'trusted-users': 'root',
}

const PROBE =
  '{ nonce }: derivation { name = "crystal-forge-sandbox-probe"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo $nonce > $out" ]; inherit nonce; }'
const PROBE_SETTINGS = {
  substituters: [],
  trustedPublicKeys: [],
  maxJobs: 1,
  cores: 1,
  buildUsersGroup: '',
}
const PROBE_TIMEOUT_MS = 60_000
const MACHINE_SHELL: readonly string[] = ['/bin', '/usr', '/lib', '/lib64']
