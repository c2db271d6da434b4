import { createHash } from 'node:crypto'
import { mkdir, readdir, realpath, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'

export type StateDirectory = {
  /** Eight hex digits that tell this builder's things on the machine from another builder's. */
  readonly tag: string
  release(): Promise<void>
}

/**
 * Makes the directory ours for as long as this process lives, and removes what a life that was killed left half done.
 * @throws {Error} when another builder runs on it.
 */
export async function takeStateDirectory(directory: string): Promise<StateDirectory> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const digest = createHash('sha256')
    .update(await realpath(directory))
    .digest('hex')
  // An abstract socket: the kernel frees it when its holder dies, so it is never stale.
  const release = await listen(`\0crystal-forge-builder-${digest.slice(0, 40)}`)
  if (release === undefined)
    throw new Error(`another builder runs on ${directory}: stop it, or set builder.state_directory`)
  await removeHalfDone(directory)
  return { tag: digest.slice(0, 8), release }
}

async function removeHalfDone(directory: string): Promise<void> {
  for (const name of HALF_DONE) await rm(join(directory, name), { recursive: true, force: true })
  // A git that was killed leaves locks, and every later fetch would refuse to work.
  for (const repositories of REPOSITORIES) {
    const parent = join(directory, repositories)
    for (const name of await namesIn(parent)) await removeLocks(join(parent, name))
  }
}

async function removeLocks(repository: string): Promise<void> {
  const names = [
    ...(await namesIn(repository)),
    ...(await namesIn(join(repository, 'refs'), true)).map((name) => join('refs', name)),
    ...(await namesIn(join(repository, 'objects/pack'))).map((name) => join('objects/pack', name)),
  ]
  const left = names.filter((name) => name.endsWith('.lock') || /(^|\/)tmp_(pack|idx)_/.test(name))
  for (const name of left) await rm(join(repository, name), { force: true })
}

async function namesIn(directory: string, recursive = false): Promise<string[]> {
  return readdir(directory, { recursive }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return []
    throw error
  })
}

function listen(address: string): Promise<(() => Promise<void>) | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(address, () => {
      server.unref()
      resolve(async () => {
        await new Promise((done) => server.close(done))
      })
    })
  })
}

const HALF_DONE = ['uploads', 'downloads', 'scopes']
/** Our mirrors, and what Nix keeps of the flakes that it fetched. */
const REPOSITORIES = ['mirrors', 'home/cache/nix/gitv3']
