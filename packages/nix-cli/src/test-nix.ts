import { join } from 'node:path'
import { findStore, type NixSetup, type NixStore } from './nix-environment.ts'
import { type NixVersion, parseNixVersion } from './nix-version.ts'
import { runCommand } from './run-command.ts'

export type TestNix =
  | { readonly kind: 'none'; readonly note: string }
  | {
      readonly kind: 'nix'
      /** For the name of a test group: which Nix ran, or why none did. */
      readonly note: string
      readonly version: NixVersion
      readonly store: NixStore
      setup(directory: string): NixSetup
    }

/** The Nix of this machine for tests, or the reason why tests that need it are skipped. */
export async function testNix(): Promise<TestNix> {
  const outcome = await runCommand({ program: 'nix', args: ['--version'], env: { PATH }, timeoutMs: 10_000 })
  const version = outcome.kind === 'exited' ? parseNixVersion(outcome.stdout) : null
  if (version === null) return { kind: 'none', note: '(skipped: nix is not installed)' }
  const found = await findStore({ uid: process.getuid?.() ?? -1 })
  if (found.kind === 'none') return { kind: 'none', note: `(skipped: ${found.reason})` }
  const { store } = found
  const setup = (directory: string): NixSetup => ({
    path: PATH,
    home: join(directory, 'home'),
    store,
    git: { localAllowed: true },
  })
  return { kind: 'nix', note: `(Nix ${version.text}, store ${store.kind})`, version, store, setup }
}

/** Where distributions put Nix; tests do not depend on the caller's environment. */
const PATH = '/usr/local/bin:/usr/bin:/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'
