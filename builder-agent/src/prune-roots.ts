import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Keeps the newest gc roots and removes the others, so that the store can be collected. What was built lately is kept,
 * because its scan still needs it.
 */
export async function pruneRoots(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const roots = await Promise.all(
    names.map(async (name) => ({ name, at: (await lstat(join(directory, name))).mtimeMs })),
  )
  const old = roots.sort((left, right) => right.at - left.at).slice(ROOTS_MAX)
  await Promise.all(old.map(({ name }) => rm(join(directory, name), { force: true })))
}

/** A few days of a busy builder. */
const ROOTS_MAX = 300
