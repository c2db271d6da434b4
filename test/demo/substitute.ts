import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export type Substitution = { readonly command: string; readonly paths: number }

/**
 * Lets a plain Nix fetch a closure from the cache into an empty store, with signatures required. Nothing of ours runs on
 * that side.
 * @throws the error of `nix copy`, with what it wrote.
 */
export async function substitute(options: {
  readonly directory: string
  readonly cacheUrl: string
  readonly publicKey: string
  readonly path: string
}): Promise<Substitution> {
  const { directory, cacheUrl, publicKey, path } = options
  const home = join(directory, 'home')
  await mkdir(home, { recursive: true })
  const store = join(directory, 'store')
  const args = ['copy', '--from', cacheUrl, '--to', `local?root=${store}`, '--option', 'require-sigs', 'true']
  const trusted = ['--option', 'trusted-public-keys', publicKey]
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    NIX_CONF_DIR: join(directory, 'no-nix-conf'),
    NIX_CONFIG: 'experimental-features = nix-command flakes\nbuild-users-group =\nsubstituters =\n',
  }
  const limits = { env, timeout: 120_000, maxBuffer: 16 * 1024 * 1024 }
  await run('nix', [...args, ...trusted, path], limits)
  const listed = await run(
    'nix',
    ['path-info', '--store', `local?root=${store}`, '--recursive', path],
    limits,
  )
  const command = ['nix', ...args, '--option', 'trusted-public-keys', `'${publicKey}'`, path].join(' ')
  return { command, paths: listed.stdout.split('\n').filter((line) => line !== '').length }
}
