import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gitEnvironment, type NixStore, prepareHome, type Sandbox } from '@crystal-forge/nix-cli'
import type { SecretSeed } from '@crystal-forge/protocol'
import { readConfig } from '../src/config.ts'
import type { Machine } from '../src/job-context.ts'

export type TestMachine = { readonly machine: Machine; readonly directory: string; remove(): Promise<void> }

/** A machine with a state directory of its own. */
export async function testMachine(options: {
  readonly seed: SecretSeed
  readonly store?: NixStore
  readonly sandbox?: Sandbox
  readonly nixVersion?: string
  readonly localFlakes?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}): Promise<TestMachine> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-builder-'))
  const read = readConfig(
    {
      CRYSTAL_FORGE__BUILDER__SERVER_URL: 'http://127.0.0.1:1',
      CRYSTAL_FORGE__BUILDER__PRIVATE_KEY: '/nonexistent',
      CRYSTAL_FORGE__BUILDER__JOB_PUBLIC_KEY: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
      CRYSTAL_FORGE__BUILDER__STATE_DIRECTORY: join(directory, 'state'),
      CRYSTAL_FORGE__BUILDER__LOCAL_FLAKES: (options.localFlakes ?? []).join(' '),
      ...options.environment,
    },
    undefined,
  )
  if (!read.ok) throw new Error(read.errors.join('\n'))
  const git = { localAllowed: true }
  const nix = {
    path: PATH,
    home: join(directory, 'home'),
    store: options.store ?? { kind: 'local' as const },
    git,
  }
  await prepareHome(nix)
  const policy = { hosts: read.config.forges, localPaths: read.config.local_flakes }
  const machine: Machine = {
    config: read.config,
    nix,
    nixVersion: options.nixVersion ?? '2.8.0',
    scanner: null,
    sandbox: options.sandbox ?? { kind: 'off', reason: 'a test' },
    isolation: { kind: 'none', reason: 'a test' },
    buildUsersGroup: '',
    tag: '00000000',
    policy,
    git: { env: gitEnvironment({ path: PATH, home: nix.home, access: git }), policy, timeoutMs: 30_000 },
    seed: options.seed,
  }
  return { machine, directory, remove: () => rm(directory, { recursive: true, force: true }) }
}

/** Where distributions put Nix and git; tests do not depend on the caller's environment. */
const PATH = '/usr/local/bin:/usr/bin:/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'
