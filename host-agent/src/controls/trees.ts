import { lstat, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import {
  CannotCollect,
  type Collector,
  type Host,
  inOrder,
  NAME,
  PATH,
  textArg,
  textsArg,
} from './collector.ts'
import { isHidden, locate, readTextIfAny } from './read-text.ts'

/**
 * Owners, groups and modes at and below a path, and of the files of some units. A link counts as what it leads to, because that is what is
 * read and written; a link to a directory is not followed further.
 */
export const fileTree: Collector = async (host, args) => {
  const seen = new Seen(await readNames(host, '/etc/passwd'), await readNames(host, '/etc/group'))
  const walk: Walk = { host, until: host.monotonicMs() + WALK_MS_MAX, left: TREE_ENTRIES_MAX }
  await visitTree(walk, await locate(host, textArg(args, 'tree', PATH)), seen)
  for (const unit of textsArg(args, 'units', NAME)) {
    const file = UNIT_DIRECTORIES.map((directory) => `${directory}/${unit}`).find((one) =>
      host.tree.exists(one),
    )
    if (file !== undefined) seen.add(await stat(await locate(host, file)))
  }
  return seen.value()
}

/** Directories that everyone may write and in which everyone may remove what others have put there. */
export const worldWritable: Collector = async (host) => {
  const walk: Walk = { host, until: host.monotonicMs() + WALK_MS_MAX, left: SYSTEM_DIRECTORIES_MAX }
  const found: string[] = []
  let closed = 0
  // A directory that has gone meanwhile is none.
  const countClosed = (error: unknown) => {
    if (!isGone(error)) closed++
    return null
  }
  const waiting = ['/']
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    spend(walk)
    const onDisk = path.join(host.tree.root, at)
    const about = await lstat(onDisk).catch(countClosed)
    if (about === null) continue
    if (isHidden(about)) closed++
    if ((about.mode & 0o002) !== 0 && (about.mode & 0o1000) === 0) found.push(at)
    if (found.length >= FOUND_MAX) return { withoutStickyBit: inOrder(found), complete: false }
    for (const entry of (await readdir(onDisk, { withFileTypes: true }).catch(countClosed)) ?? []) {
      const inside = path.join(at, entry.name)
      if (entry.isDirectory() && !NOT_WALKED.has(inside)) waiting.push(inside)
    }
  }
  if (closed > 0 && found.length === 0)
    throw new CannotCollect('not_permitted', `${closed} directories may not be looked into`)
  return { withoutStickyBit: inOrder(found), complete: closed === 0 }
}

/** Part of a tree would look like all of it, and pass; therefore a walk that finds nothing before it must end has no value at all. */
type Walk = { readonly host: Host; readonly until: number; left: number }

function spend(walk: Walk): void {
  walk.left--
  if (walk.left < 0) throw new CannotCollect('too_large', 'there are more entries than are looked at')
  if (walk.host.monotonicMs() > walk.until)
    throw new CannotCollect('timeout', `looking through it took longer than ${WALK_MS_MAX / 1000} s`)
}

async function visitTree(walk: Walk, top: string, seen: Seen): Promise<void> {
  const waiting = [top]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    spend(walk)
    const about = await stat(at).catch(unlessGone)
    // A link that leads nowhere has no mode of its own.
    if (about === null) continue
    seen.add(about)
    if (!about.isDirectory() || (at !== top && (await lstat(at)).isSymbolicLink())) continue
    if (isHidden(about)) throw new CannotCollect('not_permitted', 'a directory is hidden from the agent')
    waiting.push(...((await readdir(at).catch(unlessGone)) ?? []).map((name) => path.join(at, name)))
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && GONE.has(error.code)
}

function unlessGone(error: unknown): null {
  if (isGone(error)) return null
  throw error
}

type About = { readonly uid: number; readonly gid: number; readonly mode: number; isDirectory(): boolean }

class Seen {
  readonly #users: ReadonlyMap<number, string>
  readonly #groups: ReadonlyMap<number, string>
  readonly #sets = {
    owners: new Set<string>(),
    groups: new Set<string>(),
    directoryModes: new Set<string>(),
    fileModes: new Set<string>(),
  }
  #entries = 0

  constructor(users: ReadonlyMap<number, string>, groups: ReadonlyMap<number, string>) {
    this.#users = users
    this.#groups = groups
  }

  add(about: About): void {
    this.#entries++
    this.#sets.owners.add(this.#users.get(about.uid) ?? String(about.uid))
    this.#sets.groups.add(this.#groups.get(about.gid) ?? String(about.gid))
    const mode = (about.mode & 0o7777).toString(8).padStart(4, '0')
    this.#sets[about.isDirectory() ? 'directoryModes' : 'fileModes'].add(mode)
  }

  value() {
    const { owners, groups, directoryModes, fileModes } = this.#sets
    return {
      owners: inOrder(owners),
      groups: inOrder(groups),
      directoryModes: inOrder(directoryModes),
      fileModes: inOrder(fileModes),
      entries: this.#entries,
      complete: true,
    }
  }
}

/** passwd(5) and group(5) begin alike: name, password, number. The first name of a number counts. */
async function readNames(host: Host, file: string): Promise<ReadonlyMap<number, string>> {
  const names = new Map<number, string>()
  for (const line of ((await readTextIfAny(host, file)) ?? '').split('\n')) {
    const [name = '', , number = ''] = line.split(':')
    if (name !== '' && /^[0-9]{1,10}$/.test(number) && !names.has(Number(number)))
      names.set(Number(number), name)
  }
  return names
}

/** Removed meanwhile, or a link that leads nowhere or round in a circle. */
const GONE: ReadonlySet<unknown> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])
const UNIT_DIRECTORIES = ['/etc/systemd/system', '/run/current-system/sw/lib/systemd/system']
/** Made by the kernel, or immutable: the store is mounted read-only and its directories have no write bits. */
const NOT_WALKED: ReadonlySet<string> = new Set(['/proc', '/sys', '/dev', '/run', '/nix/store'])
const TREE_ENTRIES_MAX = 20_000
const SYSTEM_DIRECTORIES_MAX = 500_000
const WALK_MS_MAX = 20_000
/** Enough to show what is wrong. */
const FOUND_MAX = 100
