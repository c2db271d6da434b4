import { access, constants, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { SecretSeed } from '@crystal-forge/protocol'
import type { BuilderConfig } from './config.ts'
import { readSeedFile } from './read-secret.ts'

export type CheckedFiles =
  | { readonly ok: true; readonly seed: SecretSeed }
  | { readonly ok: false; readonly errors: readonly string[] }

/** Looks at every file and program that the configuration names; all that is wrong is told, each with its key. */
export async function checkFiles(config: BuilderConfig, path: string): Promise<CheckedFiles> {
  const { auth, vulnix, destination } = config
  const errors: string[] = []
  const note = async (key: string, check: Promise<unknown>): Promise<void> => {
    await check.catch((error: unknown) =>
      errors.push(`${key}: ${error instanceof Error ? error.message : String(error)}`),
    )
  }
  let seed: SecretSeed | undefined
  await note(
    'builder.private_key',
    readSeedFile(config.private_key).then((read) => {
      seed = read
    }),
  )
  await note('auth.ssh_key_path', mustBeSecret(auth.ssh_key_path))
  await note('auth.netrc_path', mustBeSecret(auth.netrc_path))
  await note('auth.ssh_known_hosts_path', mustBeReadable(auth.ssh_known_hosts_path))
  if (vulnix.enable_whitelist) await note('vulnix.whitelist_path', mustBeReadable(vulnix.whitelist_path))
  if (destination?.kind === 'attic') {
    await note('cache.attic_token_file', mustBeSecret(destination.tokenFile))
    await note('cache.cache_type', mustBeInstalled('attic', path))
  }
  if (destination?.kind === 'nix') await note('cache.signing_key', mustBeSecret(destination.signingKey))
  return seed === undefined || errors.length > 0 ? { ok: false, errors } : { ok: true, seed }
}

async function mustBeSecret(path: string | undefined): Promise<void> {
  if (path === undefined) return
  await mustBeReadable(path)
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0)
    throw new Error(
      `${path} can be read by others (mode ${(mode & 0o777).toString(8)}); run chmod 600 and replace what is in it`,
    )
}

async function mustBeReadable(path: string | undefined): Promise<void> {
  if (path === undefined) return
  await access(path, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${path} cannot be read (${error.code}); create it, or remove the key`)
  })
}

async function mustBeInstalled(program: string, path: string): Promise<void> {
  for (const directory of path.split(delimiter)) {
    const found = await access(join(directory, program), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return
  }
  throw new Error(`"Attic" needs the program ${program} on PATH; install it, or use cache_type = "Http"`)
}
