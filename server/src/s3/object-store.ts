import { createHash, randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  type ObjectDescription,
  type OpenObject,
  openObjectFile,
  type StoredObject,
  writeObjectFile,
} from './object-file.ts'
import { noSuchBucket, noSuchKey, preconditionFailed, S3Error } from './s3-error.ts'

/** What must hold when the object appears, checked in the same step. */
export type WriteCondition =
  | { readonly kind: 'none' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'etag'; readonly etag: string }

export type NewObject = {
  readonly body: AsyncIterable<Uint8Array>
  /** Asked after the body was read; may throw, and then nothing is stored. */
  readonly describe: () => ObjectDescription
  readonly condition: WriteCondition
}

export type ListRequest = {
  readonly prefix: string
  readonly after: string
  readonly delimiter: string
  readonly max: number
}
export type Listed = {
  readonly objects: readonly StoredObject[]
  readonly prefixes: readonly string[]
  /** The last key or prefix of a page that is not the last page. */
  readonly next: string | undefined
}

export type StoreSettings = {
  readonly directory: string
  /** Survive power loss, not only the death of this process. */
  readonly durable: boolean
}

/**
 * Objects as files. A key is hashed into its file's name, so that no key can leave the directory or collide with another.
 * An object appears whole (link or rename of a finished file) or not at all, and is durable when the promise resolves.
 */
export class ObjectStore {
  readonly #settings: StoreSettings
  readonly #buckets: string
  readonly #drafts: string
  /** Sorted keys of a bucket, read from the files by the first listing and kept since. */
  readonly #keys = new Map<string, Promise<Set<string>>>()
  readonly #busy = new Map<string, Promise<unknown>>()

  constructor(settings: StoreSettings) {
    this.#settings = settings
    this.#buckets = join(settings.directory, 'buckets')
    this.#drafts = join(settings.directory, 'drafts')
  }

  /** Drafts of an earlier life are writes that nobody was promised. */
  async open(): Promise<void> {
    await rm(this.#drafts, { recursive: true, force: true })
    await mkdir(this.#drafts, { recursive: true, mode: 0o700 })
    await mkdir(this.#buckets, { recursive: true, mode: 0o700 })
  }

  async createBucket(name: string): Promise<void> {
    if (!BUCKET_NAME.test(name)) {
      throw new S3Error(
        400,
        'InvalidBucketName',
        `${JSON.stringify(name)} is no name of a bucket: 3 to 63 of a-z 0-9 . -`,
      )
    }
    await mkdir(join(this.#buckets, name), { recursive: true, mode: 0o700 })
    await this.#settle(this.#buckets)
  }

  async buckets(): Promise<string[]> {
    return (await readdir(this.#buckets)).sort(byCodeUnit)
  }

  async requireBucket(name: string): Promise<void> {
    const found = BUCKET_NAME.test(name) && (await stat(join(this.#buckets, name)).catch(() => undefined))
    if (!found) throw noSuchBucket()
  }

  async deleteBucket(name: string): Promise<void> {
    await this.requireBucket(name)
    if ((await this.#keysOf(name)).size > 0)
      throw new S3Error(409, 'BucketNotEmpty', 'the bucket still holds objects')
    for (const part of await readdir(join(this.#buckets, name))) await rmdir(join(this.#buckets, name, part))
    await rmdir(join(this.#buckets, name))
    this.#keys.delete(name)
  }

  async put(bucket: string, key: string, object: NewObject): Promise<void> {
    await this.requireBucket(bucket)
    const draft = join(this.#drafts, randomUUID())
    try {
      await writeObjectFile(draft, object.body, {
        describe: object.describe,
        durable: this.#settings.durable,
      })
      await this.#publish(draft, { bucket, key, condition: object.condition })
    } finally {
      await rm(draft, { force: true })
    }
  }

  /** The caller reads or closes what it gets. */
  async get(bucket: string, key: string): Promise<OpenObject> {
    const found = await this.find(bucket, key)
    if (!found) throw noSuchKey()
    return found
  }

  async find(bucket: string, key: string): Promise<OpenObject | undefined> {
    await this.requireBucket(bucket)
    return openObjectFile(this.#path(bucket, key))
  }

  async delete(bucket: string, key: string): Promise<void> {
    await this.requireBucket(bucket)
    const path = this.#path(bucket, key)
    await rm(path, { force: true })
    await this.#settle(dirname(path))
    ;(await this.#keys.get(bucket))?.delete(key)
  }

  async list(bucket: string, request: ListRequest): Promise<Listed> {
    await this.requireBucket(bucket)
    const { names, prefixes, next } = page(await this.#keysOf(bucket), request)
    const objects: StoredObject[] = []
    for (const name of names) {
      const found = await openObjectFile(this.#path(bucket, name))
      await found?.close()
      if (found) objects.push(found.object)
    }
    return { objects, prefixes, next }
  }

  async #publish(
    draft: string,
    to: { bucket: string; key: string; condition: WriteCondition },
  ): Promise<void> {
    const path = this.#path(to.bucket, to.key)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await this.#alone(path, async () => {
      if (to.condition.kind === 'absent') await linkNew(draft, path)
      else {
        if (to.condition.kind === 'etag') await requireEtag(path, to.condition.etag)
        await rename(draft, path)
      }
    })
    await this.#settle(dirname(path))
    ;(await this.#keys.get(to.bucket))?.add(to.key)
  }

  #path(bucket: string, key: string): string {
    const name = createHash('sha256').update(key).digest('hex')
    return join(this.#buckets, bucket, name.slice(0, 2), name)
  }

  #keysOf(bucket: string): Promise<Set<string>> {
    const known = this.#keys.get(bucket)
    if (known !== undefined) return known
    const reading = readKeys(join(this.#buckets, bucket))
    this.#keys.set(bucket, reading)
    return reading
  }

  /** One at a time for a path: a condition and what depends on it must not be separated. */
  async #alone(path: string, work: () => Promise<void>): Promise<void> {
    const before = this.#busy.get(path) ?? Promise.resolve()
    const mine = before.then(work, work)
    this.#busy.set(path, mine)
    try {
      await mine
    } finally {
      if (this.#busy.get(path) === mine) this.#busy.delete(path)
    }
  }

  async #settle(directory: string): Promise<void> {
    if (!this.#settings.durable) return
    const handle = await open(directory, 'r').catch(() => undefined)
    try {
      await handle?.sync()
    } finally {
      await handle?.close()
    }
  }
}

async function linkNew(draft: string, path: string): Promise<void> {
  await link(draft, path).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? preconditionFailed() : error
  })
}

async function requireEtag(path: string, etag: string): Promise<void> {
  const found = await openObjectFile(path)
  await found?.close()
  if (!found) throw noSuchKey()
  if (found.object.etag !== etag) throw preconditionFailed()
}

async function readKeys(directory: string): Promise<Set<string>> {
  const keys = new Set<string>()
  for (const part of await readdir(directory)) {
    for (const name of await readdir(join(directory, part))) {
      const found = await openObjectFile(join(directory, part, name))
      await found?.close()
      if (found) keys.add(found.object.key)
    }
  }
  return keys
}

type Page = {
  readonly names: readonly string[]
  readonly prefixes: readonly string[]
  readonly next: string | undefined
}

/** Keys and common prefixes of one page of a listing, in order of UTF-16 code units. */
export function page(keys: Iterable<string>, { prefix, after, delimiter, max }: ListRequest): Page {
  const names: string[] = []
  const prefixes: string[] = []
  let last: string | undefined
  for (const key of [...keys].sort(byCodeUnit)) {
    if (!key.startsWith(prefix)) continue
    const group = groupOf(key, prefix, delimiter)
    const entry = group ?? key
    if (entry <= after || entry === last) continue
    if (names.length + prefixes.length === max) return { names, prefixes, next: last }
    if (group === undefined) names.push(key)
    else prefixes.push(group)
    last = entry
  }
  return { names, prefixes, next: undefined }
}

function groupOf(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '') return undefined
  const end = key.indexOf(delimiter, prefix.length)
  return end === -1 ? undefined : key.slice(0, end + delimiter.length)
}

function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

const BUCKET_NAME = /^(?=.{3,63}$)[a-z0-9](?:[a-z0-9-]|\.(?!\.))*[a-z0-9]$/
