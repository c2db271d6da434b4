import { lstatSync, readlinkSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import path from 'node:path'

/**
 * A directory seen as if it were `/`: absolute links inside it stay inside it, as they would after `chroot`. What is not
 * there or may not be read is null: a fact that could not be read, never a guess.
 */
export type RootedTree = {
  readonly root: string
  /** The text of a small file without surrounding white space. */
  text(file: string): Promise<string | null>
  bytes(file: string, bytesMax?: number): Promise<Uint8Array | null>
  /** Names in a directory, sorted. */
  list(directory: string): Promise<readonly string[] | null>
  exists(file: string): boolean
  /** Where a link leads, one step, as text; null when it is no link. */
  linkTarget(link: string): string | null
  /** The path, relative to this root, that is left when every link is followed; null when it leads nowhere. */
  resolve(file: string): string | null
}

export function rootedTree(root: string): RootedTree {
  const base = path.resolve(root)
  const onDisk = (inside: string) => path.join(base, inside)
  const resolve = (file: string) => follow(base, file)
  const bytes = async (file: string, bytesMax = FILE_BYTES_MAX) => {
    const found = resolve(file)
    return found === null ? null : await readBytes(onDisk(found), bytesMax)
  }
  return {
    root: base,
    bytes,
    resolve,
    async text(file) {
      const content = await bytes(file)
      return content === null ? null : new TextDecoder().decode(content).trim()
    },
    async list(directory) {
      const found = resolve(directory)
      if (found === null) return null
      return await readdir(onDisk(found)).then(
        (names) => names.sort(),
        () => null,
      )
    },
    exists: (file) => resolve(file) !== null,
    linkTarget(link) {
      const parent = resolve(path.dirname(link))
      return parent === null ? null : readLink(base, path.join(parent, path.basename(link)))
    },
  }
}

/** Follows links one component at a time, because the kernel would lead absolute ones out of the tree. */
function follow(base: string, file: string): string | null {
  let done = '/'
  let rest = file.split('/').filter((part) => part !== '')
  for (let links = 0; rest.length > 0; ) {
    const [part = '', ...others] = rest
    rest = others
    if (part === '.') continue
    const next = path.join(done, part)
    const kind = part === '..' ? 'directory' : kindOf(path.join(base, next))
    if (kind === null) return null
    if (kind !== 'link') {
      done = next
      continue
    }
    const target = readLink(base, next)
    links++
    if (target === null || links > LINKS_MAX) return null
    if (target.startsWith('/')) done = '/'
    rest = [...target.split('/').filter((one) => one !== ''), ...rest]
  }
  return done
}

function kindOf(file: string): 'link' | 'directory' | null {
  const stat = lstatSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return null
  return stat.isSymbolicLink() ? 'link' : 'directory'
}

/** A prepared tree may name itself in its links, because whoever made it saw the whole path. */
function readLink(base: string, inside: string): string | null {
  try {
    const target = readlinkSync(path.join(base, inside))
    return base !== '/' && target.startsWith(`${base}/`) ? target.slice(base.length) : target
  } catch {
    return null
  }
}

/** Files of /proc and /sys say that they are empty, so this reads until the end or the limit. */
async function readBytes(file: string, bytesMax: number): Promise<Uint8Array | null> {
  try {
    const handle = await open(file, 'r')
    try {
      let buffer = new Uint8Array(Math.min(FIRST_BYTES, bytesMax))
      let length = 0
      for (;;) {
        const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
        length += bytesRead
        if (bytesRead === 0 || length === bytesMax) return buffer.subarray(0, length)
        if (length === buffer.length) buffer = enlarged(buffer, bytesMax)
      }
    } finally {
      await handle.close()
    }
  } catch {
    return null
  }
}

function enlarged(buffer: Uint8Array<ArrayBuffer>, bytesMax: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(buffer.length * 4, bytesMax))
  larger.set(buffer)
  return larger
}

/** Most files of /proc and /sys are smaller, and dozens are read at once. */
const FIRST_BYTES = 4096
/** The kernel's own limit. */
const LINKS_MAX = 40
/** The largest file that is read is /proc/cpuinfo: 1.5 KiB a core. */
const FILE_BYTES_MAX = 512 * 1024
