import { statfs } from 'node:fs/promises'
import type { Log } from './log.ts'

/**
 * Says why no build may begin now: a store whose disk is full fails every build with an error that looks like the
 * build's own. The change is logged once, not every question.
 */
export function diskGuard(options: {
  readonly directory: string
  readonly minFreeBytes: number
  readonly log: Log
  /** Bytes that are free for us; real unless a test says otherwise. */
  readonly freeBytes?: (directory: string) => Promise<number>
}): () => Promise<string | undefined> {
  const { directory, minFreeBytes, log, freeBytes = freeIn } = options
  let low = false
  return async () => {
    const free = await freeBytes(directory)
    const why =
      free >= minFreeBytes
        ? undefined
        : `${directory} has ${mebibytes(free)} MiB free, less than the ${mebibytes(minFreeBytes)} MiB of builder.min_free_bytes; run nix-collect-garbage or add space`
    if (why !== undefined && !low) log.warn({ free, minFreeBytes }, `no builds are taken: ${why}`)
    if (why === undefined && low) log.info({ free }, 'there is space again: builds are taken')
    low = why !== undefined
    return why
  }
}

/** Before its first use Nix has no store yet; the file system is the same. */
async function freeIn(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return statfs('/')
    throw error
  })
  return bavail * bsize
}

function mebibytes(bytes: number): number {
  return Math.floor(bytes / 1024 ** 2)
}
