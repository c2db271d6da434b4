import { access, constants, lstat, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { CannotCollect, type Host, inOrder, isDenied } from './collector.ts'
import { decodeText } from './run-program.ts'

/** The text of a file. @throws CannotCollect `absent`, `unreadable` or `too_large`. */
export async function readText(host: Host, file: string, bytesMax: number = FILE_BYTES_MAX): Promise<string> {
  const found = await locate(host, file)
  if (!(await stat(found)).isFile()) throw new CannotCollect('unreadable', `${file} is no file`)
  const bytes = await host.tree.bytes(file, bytesMax + 1)
  if (bytes === null) throw await whyUnread(file, found)
  if (bytes.length > bytesMax) throw new CannotCollect('too_large', `${file} has more than ${bytesMax} bytes`)
  return decodeText(bytes, file)
}

/** As `readText`, or null when there is no such file. */
export async function readTextIfAny(host: Host, file: string): Promise<string | null> {
  return host.tree.exists(file) ? await readText(host, file) : null
}

async function whyUnread(file: string, found: string): Promise<CannotCollect> {
  const denied = await access(found, constants.R_OK).then(() => false, isDenied)
  return denied
    ? new CannotCollect('not_permitted', `${file} may not be read`)
    : new CannotCollect('unreadable', `${file} cannot be read`)
}

/** The names in a directory, sorted; null when there is none. @throws CannotCollect when it cannot be looked into. */
export async function listIfAny(host: Host, directory: string): Promise<readonly string[] | null> {
  if (!host.tree.exists(directory)) return null
  const found = await locate(host, directory)
  if (isHidden(await lstat(found)))
    throw new CannotCollect('not_permitted', `${directory} is hidden from the agent`)
  try {
    return inOrder(await readdir(found))
  } catch (error) {
    throw isDenied(error) ? new CannotCollect('not_permitted', `${directory} may not be looked into`) : error
  }
}

/**
 * systemd hides a directory from a unit (ProtectHome=, InaccessiblePaths=) behind an empty one of mode 000, and whoever may read all files
 * sees it as empty.
 */
export function isHidden(about: { readonly mode: number }): boolean {
  return (about.mode & 0o777) === 0
}

/** Where a path lies on the disk, links followed. @throws CannotCollect `absent`. */
export async function locate(host: Host, file: string): Promise<string> {
  const inside = host.tree.resolve(file)
  if (inside === null) throw new CannotCollect('absent', `there is no ${file}`)
  return path.join(host.tree.root, inside)
}

/** Lines without surrounding space, a `\` at the end joins two; without empty ones. */
export function logicalLines(text: string): readonly string[] {
  return text
    .replace(/\\\r?\n/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

/** The largest of these files are those of PAM and sudo, a few KiB. */
const FILE_BYTES_MAX = 256 * 1024
