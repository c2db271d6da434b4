import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { type OpenObject, openObjectFile, type StoredObject, writeObjectFile } from './object-file.ts'
import type { ObjectStore, StoreSettings, WriteCondition } from './object-store.ts'
import type { RequestBody } from './request-body.ts'
import { S3Error } from './s3-error.ts'

const begun = z.strictObject({
  bucket: z.string(),
  key: z.string(),
  headers: z.record(z.string(), z.string()),
})

/** What an upload will become. */
export type Begun = Readonly<z.infer<typeof begun>>

export type PartName = { readonly number: number; readonly etag: string }

export type Completed = { readonly etag: string; readonly checksum: string | undefined }

/** Multipart uploads: parts are files in the format of objects, and completing writes them one after the other into an object. */
export class Uploads {
  readonly #directory: string
  readonly #store: ObjectStore
  readonly #durable: boolean

  constructor(store: ObjectStore, settings: StoreSettings) {
    this.#store = store
    this.#directory = join(settings.directory, 'uploads')
    this.#durable = settings.durable
  }

  /** Uploads that nobody completed for a week are removed. */
  async open(now: Date): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    for (const id of await readdir(this.#directory)) {
      const { mtimeMs } = await stat(join(this.#directory, id))
      if (now.getTime() - mtimeMs > ABANDONED_MS)
        await rm(join(this.#directory, id), { recursive: true, force: true })
    }
  }

  async begin(upload: Begun): Promise<string> {
    await this.#store.requireBucket(upload.bucket)
    const id = randomUUID().replaceAll('-', '')
    await mkdir(join(this.#directory, id), { mode: 0o700 })
    await writeFile(join(this.#directory, id, BEGUN), JSON.stringify(upload))
    return id
  }

  async part(id: string, number: number, body: RequestBody, lastModified: Date): Promise<StoredObject> {
    const { key } = await this.#begun(id)
    if (!Number.isInteger(number) || number < 1 || number > PARTS_MAX) {
      throw new S3Error(400, 'InvalidArgument', `a part has a number from 1 to ${PARTS_MAX}`)
    }
    const path = this.#part(id, number)
    const draft = `${path}.${randomUUID()}`
    try {
      await writeObjectFile(draft, body.content, {
        durable: this.#durable,
        describe: () => {
          const { md5, checksum } = body.verify()
          const whole = checksum ? { checksum: { ...checksum, type: 'FULL_OBJECT' as const } } : {}
          return { key, etag: `"${md5}"`, lastModified: lastModified.toISOString(), headers: {}, ...whole }
        },
      })
      await rename(draft, path)
    } finally {
      await rm(draft, { force: true })
    }
    const written = await this.#open(id, { number, etag: '' })
    await written.close()
    return written.object
  }

  async complete(
    id: string,
    names: readonly PartName[],
    end: { condition: WriteCondition; now: Date },
  ): Promise<Completed> {
    const upload = await this.#begun(id)
    const parts = await this.#check(id, names)
    const etag = `"${digestOf(
      'md5',
      parts.map(({ etag }) => Buffer.from(etag.replaceAll('"', ''), 'hex')),
      'hex',
    )}-${parts.length}"`
    const checksum = compositeChecksum(parts)
    await this.#store.put(upload.bucket, upload.key, {
      body: this.#concatenated(id, names),
      condition: end.condition,
      describe: () => ({
        key: upload.key,
        etag,
        lastModified: end.now.toISOString(),
        headers: upload.headers,
        ...(checksum === undefined
          ? {}
          : { checksum: { algorithm: 'sha256', value: checksum, type: 'COMPOSITE' as const } }),
      }),
    })
    await this.abort(id)
    return { etag, checksum }
  }

  async abort(id: string): Promise<void> {
    await this.#begun(id)
    await rm(join(this.#directory, id), { recursive: true, force: true })
  }

  async #begun(id: string): Promise<Begun> {
    const text = /^[0-9a-f]{32}$/.test(id)
      ? await readFile(join(this.#directory, id, BEGUN), 'utf8').catch(() => undefined)
      : undefined
    if (text === undefined)
      throw new S3Error(404, 'NoSuchUpload', 'the upload does not exist: completed, aborted, or never begun')
    return begun.parse(JSON.parse(text))
  }

  async #check(id: string, names: readonly PartName[]): Promise<StoredObject[]> {
    if (names.length === 0)
      throw new S3Error(400, 'MalformedXML', 'an upload is completed with at least one part')
    const parts: StoredObject[] = []
    for (const [index, name] of names.entries()) {
      if (index > 0 && name.number <= (names[index - 1]?.number ?? 0)) {
        throw new S3Error(400, 'InvalidPartOrder', 'parts are listed in ascending order')
      }
      const part = await this.#open(id, name)
      await part.close()
      if (part.object.etag !== name.etag)
        throw new S3Error(400, 'InvalidPart', `part ${name.number} has another ETag`)
      if (index < names.length - 1 && part.object.bytes < PART_BYTES_MIN) {
        throw new S3Error(400, 'EntityTooSmall', `part ${name.number} is not the last and smaller than 5 MiB`)
      }
      parts.push(part.object)
    }
    return parts
  }

  async #open(id: string, { number }: PartName): Promise<OpenObject> {
    const part = await openObjectFile(this.#part(id, number))
    if (!part) throw new S3Error(400, 'InvalidPart', `part ${number} was not uploaded`)
    return part
  }

  async *#concatenated(id: string, names: readonly PartName[]): AsyncGenerator<Uint8Array> {
    for (const name of names) {
      const part = await this.#open(id, name)
      yield* part.read(0, part.object.bytes - 1)
    }
  }

  #part(id: string, number: number): string {
    return join(this.#directory, id, `part-${number}`)
  }
}

/** S3 hashes the hashes, and only when every part has one. */
function compositeChecksum(parts: readonly StoredObject[]): string | undefined {
  const values = parts.map(({ checksum }) => (checksum?.algorithm === 'sha256' ? checksum.value : undefined))
  if (values.some((value) => value === undefined)) return undefined
  return `${digestOf(
    'sha256',
    values.map((value) => Buffer.from(value ?? '', 'base64')),
    'base64',
  )}-${parts.length}`
}

function digestOf(
  algorithm: 'md5' | 'sha256',
  pieces: readonly Buffer[],
  encoding: 'hex' | 'base64',
): string {
  const hash = createHash(algorithm)
  for (const piece of pieces) hash.update(piece)
  return hash.digest(encoding)
}

const BEGUN = 'upload.json'
const PARTS_MAX = 10_000
const PART_BYTES_MIN = 5 * 1024 * 1024
const ABANDONED_MS = 7 * 24 * 60 * 60 * 1000
