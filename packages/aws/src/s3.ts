import { createHash } from 'node:crypto'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { type Presigned, presign } from './presign.ts'
import { isMissing, writeOnce } from './s3-errors.ts'
import { putLargeStream } from './s3-multipart.ts'
import type { StoreOutcome, StreamStored, Target } from './s3-object.ts'

export type { StoreOutcome, StreamStored } from './s3-object.ts'

export type ObjectHeaders = { readonly contentType?: string; readonly cacheControl?: string }

export type ObjectInfo = {
  readonly bytes: number
  readonly etag: string
  readonly contentType: string | undefined
  readonly lastModified: Date | undefined
}

export type ObjectStream = ObjectInfo & { readonly body: AsyncIterable<Uint8Array> }

export type ListedObject = {
  readonly key: string
  readonly bytes: number
  readonly lastModified: Date | undefined
}
export type ListPage = { readonly objects: readonly ListedObject[]; readonly cursor: string | undefined }

export type PresignOptions = { readonly expiresSeconds: number; readonly now?: Date }

/** One bucket. An object is seen whole or not at all, and at once after the promise resolved. */
export type Bucket = {
  readonly name: string
  /** Write once: of several writers of a key exactly one has `stored`. The service verifies the SHA-256. */
  putIfAbsent(key: string, body: Uint8Array | string, headers?: ObjectHeaders): Promise<StoreOutcome>
  /** Replaces what was there. */
  put(key: string, body: Uint8Array | string, headers?: ObjectHeaders): Promise<void>
  /** Write once, any length, in constant memory. The stream is read to its end also when the key exists. */
  putStreamIfAbsent(
    key: string,
    body: AsyncIterable<Uint8Array>,
    headers?: ObjectHeaders,
  ): Promise<StreamStored>
  /** Undefined when there is no such object. */
  get(key: string, signal?: AbortSignal): Promise<ObjectStream | undefined>
  /** The whole object; throws RangeError when it is larger than `bytesMax`. */
  getBytes(key: string, bytesMax: number): Promise<Uint8Array | undefined>
  head(key: string): Promise<ObjectInfo | undefined>
  /** Also resolves when there is no such object. */
  delete(key: string): Promise<void>
  list(
    prefix: string,
    page?: { readonly limit?: number; readonly cursor?: string | undefined },
  ): Promise<ListPage>
  /** A URL that reads the object without credentials. */
  presignGet(key: string, options: PresignOptions): Promise<string>
  /** A URL that writes the object once, and the headers that must be sent with it. `sha256` is lower-case hex. */
  presignPut(key: string, sha256: string, options: PresignOptions): Promise<Presigned>
}

export function bucket(client: S3Client, name: string): Bucket {
  return {
    name,
    putIfAbsent: (key, body, headers) =>
      writeOnce(async () => {
        await client.send(
          new PutObjectCommand({ ...object(name, key, headers), ...content(body), IfNoneMatch: '*' }),
        )
      }),
    put: async (key, body, headers) => {
      await client.send(new PutObjectCommand({ ...object(name, key, headers), ...content(body) }))
    },
    putStreamIfAbsent: (key, body, headers) => putStreamIfAbsent(client, object(name, key, headers), body),
    get: (key, signal) => get(client, name, key, signal),
    getBytes: (key, bytesMax) => getBytes(client, name, key, bytesMax),
    head: (key) => head(client, name, key),
    delete: async (key) => {
      await client.send(new DeleteObjectCommand({ Bucket: name, Key: key }))
    },
    list: (prefix, page = {}) => list(client, name, prefix, page),
    presignGet: async (key, options) =>
      (await presign(client, { ...options, bucket: name, key, method: 'GET' })).url,
    presignPut: (key, sha256, options) =>
      presign(client, {
        ...options,
        bucket: name,
        key,
        method: 'PUT',
        headers: {
          'if-none-match': '*',
          'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64'),
        },
      }),
  }
}

function object(bucketName: string, key: string, headers: ObjectHeaders = {}): Target {
  return {
    Bucket: bucketName,
    Key: key,
    ...(headers.contentType === undefined ? {} : { ContentType: headers.contentType }),
    ...(headers.cacheControl === undefined ? {} : { CacheControl: headers.cacheControl }),
  }
}

type Content = { readonly Body: Uint8Array; readonly ContentLength: number; readonly ChecksumSHA256: string }

function content(body: Uint8Array | string): Content {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  return {
    Body: bytes,
    ContentLength: bytes.byteLength,
    ChecksumSHA256: createHash('sha256').update(bytes).digest('base64'),
  }
}

async function putStreamIfAbsent(
  client: S3Client,
  target: Target,
  body: AsyncIterable<Uint8Array>,
): Promise<StreamStored> {
  const parts = inParts(body)
  const first = await parts.next()
  const small = first.value ?? Buffer.alloc(0)
  if (small.byteLength >= PART_BYTES) return putLargeStream(client, target, { first: small, rest: parts })
  const outcome = await writeOnce(async () => {
    await client.send(new PutObjectCommand({ ...target, ...content(small), IfNoneMatch: '*' }))
  })
  return { outcome, bytes: small.byteLength, sha256: createHash('sha256').update(small).digest('hex') }
}

/** Pieces of exactly PART_BYTES; the last may be shorter. */
async function* inParts(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, undefined> {
  let held: Uint8Array[] = []
  let bytes = 0
  for await (let chunk of body) {
    while (bytes + chunk.byteLength >= PART_BYTES) {
      const fits = PART_BYTES - bytes
      yield Buffer.concat([...held, chunk.subarray(0, fits)])
      chunk = chunk.subarray(fits)
      held = []
      bytes = 0
    }
    // A source may use its buffer again for the next chunk.
    if (chunk.byteLength > 0) held.push(Buffer.from(chunk))
    bytes += chunk.byteLength
  }
  if (bytes > 0) yield Buffer.concat(held)
  return undefined
}

async function get(
  client: S3Client,
  name: string,
  key: string,
  signal?: AbortSignal,
): Promise<ObjectStream | undefined> {
  const command = new GetObjectCommand({ Bucket: name, Key: key })
  return orMissing(async () => {
    const answer = await client.send(command, signal ? { abortSignal: signal } : {})
    if (!answer.Body) throw new Error(`S3 sent no body for ${key}`)
    return { ...info(answer), body: chunks(answer.Body.transformToWebStream()) }
  })
}

async function* chunks(stream: ReadableStream): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    if (!(chunk instanceof Uint8Array)) throw new Error('S3 sent something other than bytes')
    yield chunk
  }
}

async function getBytes(
  client: S3Client,
  name: string,
  key: string,
  bytesMax: number,
): Promise<Uint8Array | undefined> {
  const stream = await get(client, name, key)
  if (!stream) return undefined
  const held: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stream.body) {
    bytes += chunk.byteLength
    if (bytes > bytesMax) throw new RangeError(`the object ${key} is larger than ${bytesMax} bytes`)
    held.push(chunk)
  }
  return Buffer.concat(held)
}

async function head(client: S3Client, name: string, key: string): Promise<ObjectInfo | undefined> {
  return orMissing(async () => info(await client.send(new HeadObjectCommand({ Bucket: name, Key: key }))))
}

type Described = {
  readonly ContentLength?: number | undefined
  readonly ETag?: string | undefined
  readonly ContentType?: string | undefined
  readonly LastModified?: Date | undefined
}

function info(answer: Described): ObjectInfo {
  return {
    bytes: answer.ContentLength ?? 0,
    etag: answer.ETag ?? '',
    contentType: answer.ContentType,
    lastModified: answer.LastModified,
  }
}

async function orMissing<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function list(
  client: S3Client,
  name: string,
  prefix: string,
  page: { readonly limit?: number; readonly cursor?: string | undefined },
): Promise<ListPage> {
  const answer = await client.send(
    new ListObjectsV2Command({
      Bucket: name,
      Prefix: prefix,
      MaxKeys: page.limit ?? LIST_MAX,
      ...(page.cursor === undefined ? {} : { ContinuationToken: page.cursor }),
    }),
  )
  const objects = (answer.Contents ?? []).map(({ Key, Size, LastModified }) => ({
    key: Key ?? '',
    bytes: Size ?? 0,
    lastModified: LastModified,
  }))
  return { objects, cursor: answer.NextContinuationToken }
}

/** Above this a stream becomes a multipart upload; S3 wants at least 5 MiB and at most 10,000 parts (80 GB). */
const PART_BYTES = 8 * 1024 * 1024
const LIST_MAX = 1000
