import { createHash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { chmod, mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Who the database server runs as. */
export type Account = {
  readonly uid: number
  readonly gid: number
  /** True when the child must be told to change its user, which only root can. */
  readonly switchTo: boolean
}

/** Postgres refuses to run as root, so root starts it as `nobody`; everybody else starts it as themselves. */
export function accountFor(uid: number): Account {
  if (uid === 0) return { uid: NOBODY, gid: NOBODY, switchTo: true }
  return { uid, gid: process.getgid?.() ?? uid, switchTo: false }
}

/**
 * `dataDir` itself, or a directory below `systemDir` that stands for it, when one of its ancestors is closed to the
 * account. Made if it is missing, with every parent open to pass through.
 */
export async function reachableHome(dataDir: string, account: Account, systemDir: string): Promise<string> {
  if (!account.switchTo || (await canReach(dataDir, account))) return dataDir
  const home = join(systemDir, createHash('sha256').update(dataDir).digest('hex').slice(0, 16))
  await makeOpenDirectory(home)
  if (await canReach(home, account)) return home
  throw new Error(
    `neither ${dataDir} nor ${home} can be reached by the unprivileged user ${account.uid}: ` +
      `open a path with chmod o+x, or set DATABASE_URL`,
  )
}

/** Makes the directory and its missing parents, open to pass through whatever the umask says. Leaves the rest alone. */
export async function makeOpenDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true })
  if (first === undefined) return
  for (let made = directory; made.length >= first.length; made = dirname(made)) await chmod(made, 0o755)
}

/** Whether the account may pass through the directory and all of its ancestors. */
export async function canReach(directory: string, account: Account): Promise<boolean> {
  if (!mayEnter(await stat(directory), account)) return false
  const parent = dirname(directory)
  return parent === directory || canReach(parent, account)
}

/** The execute bit that counts for the account: owner's, group's or everybody's, never more than one. */
export function mayEnter(entry: Pick<Stats, 'mode' | 'uid' | 'gid'>, account: Account): boolean {
  if (entry.uid === account.uid) return (entry.mode & 0o100) !== 0
  if (entry.gid === account.gid) return (entry.mode & 0o010) !== 0
  return (entry.mode & 0o001) !== 0
}

/** `nobody` on every Linux that we know; it owns no files that would matter. */
const NOBODY = 65_534
