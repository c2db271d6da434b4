import { mkdir, open, readdir, rename } from 'node:fs/promises'
import path from 'node:path'
import { type HostKey, isMissing, readHostKey, writeNewKey } from './key-files.ts'

/** `given` is the file that the operator names, `rotated` has taken its place, `pending` may be about to. */
export type Candidate = HostKey & { readonly role: 'given' | 'rotated' | 'pending' }

/**
 * The keys of this host. The operator's file is only read: it may be a credential of systemd or come from a store of secrets. Keys that were
 * rotated in lie in the agent's own directory, under the id of the operator's key that they began from:
 *
 *     DIRECTORY/<id of the given key>/current.key         what took its place
 *     DIRECTORY/<id of the given key>/<own id>.pending    sent, or about to be sent, and not known to be taken
 *
 * So a rotated key counts for exactly as long as the operator's file holds what it replaced. Whoever puts another key there means that one:
 * it was given later than the rotated key, and by a person. Each step is one rename, and after each some candidate is what the control plane
 * knows, whichever side of it the power fails on. Nothing is removed: a command beside a running agent may see another key in the operator's
 * file than the agent does, and what one of them calls old is what the other needs.
 */
export type HostKeys = {
  /** In the order in which they are to be tried. @throws Error that names the file and the remedy, never its content. */
  candidates(): Promise<readonly [Candidate, ...Candidate[]]>
  /** The key that is to take the place of the present one: one that was begun before, or a new one. Durable when it resolves. */
  begin(): Promise<Candidate>
  /**
   * The control plane has taken this key, which is the present one from now on. Repeating it changes nothing, and another process may have
   * done it already.
   * @returns the key in its place.
   */
  taken(key: Candidate): Promise<Candidate>
}

export function hostKeysIn(options: {
  readonly givenFile: string
  /** Made when the first key is rotated in; nobody else writes there. */
  readonly directory: string
}): HostKeys {
  const { givenFile, directory } = options
  const given = async (): Promise<HostKey> => {
    const key = await readHostKey(givenFile)
    if (key === null) throw new Error(missing(givenFile))
    return key
  }
  const placeOf = (key: HostKey) => path.join(directory, nameOf(key.keyId))
  const currentOf = (place: string) => path.join(place, 'current.key')
  return {
    async candidates() {
      const origin = await given()
      const place = placeOf(origin)
      const rotated = await readHostKey(currentOf(place))
      const pending = await pendingIn(place)
      const asGiven = { ...origin, role: 'given' } as const
      // Beside a rotated key the given one is what a control plane knows that was set back to an earlier time.
      return rotated === null ? [asGiven, ...pending] : [{ ...rotated, role: 'rotated' }, ...pending, asGiven]
    },
    async begin() {
      const place = placeOf(await given())
      const [begun] = await pendingIn(place)
      if (begun !== undefined) return begun
      await mkdir(place, { recursive: true, mode: 0o700 })
      const key = await writeNewKey((id) => path.join(place, `${nameOf(id)}.pending`))
      // The new directories are to be there after a loss of power as well.
      for (const parent of [directory, path.dirname(directory)]) await syncDirectory(parent)
      return { ...key, role: 'pending' }
    },
    async taken(key) {
      if (key.role !== 'pending') return key
      const file = currentOf(path.dirname(key.file))
      await move(key.file, file)
      return { ...key, role: 'rotated', file }
    },
  } satisfies HostKeys
}

async function pendingIn(place: string): Promise<Candidate[]> {
  const names = (await namesIn(place)).filter((name) => name.endsWith('.pending')).slice(0, PENDING_MAX)
  const keys = await Promise.all(names.map((name) => readHostKey(path.join(place, name))))
  return keys.flatMap((key) => (key === null ? [] : [{ ...key, role: 'pending' as const }]))
}

async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (isMissing(error)) return
    throw new Error(`cannot put ${from} in the place of ${to}`, { cause: error })
  }
  await syncDirectory(path.dirname(to))
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return (await readdir(directory)).sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw new Error(`cannot look into ${directory}`, { cause: error })
  }
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, 'r')
  await handle.sync()
}

/** The id of a key without its prefix; base64url is fit for a file's name. */
function nameOf(keyId: string): string {
  return keyId.replace(/^ed25519:/, '')
}

function missing(file: string): string {
  const remedy = file.startsWith('/run/credentials/')
    ? 'systemd puts it there while the agent runs: start it, or name the file itself with --private-key'
    : 'make one with "cf keygen" or enroll this host with "host-agent enroll"'
  return `there is no key in ${file}; ${remedy}`
}

/** Commands that were run at once leave one each; more than that is no work of this program. */
const PENDING_MAX = 8
