import { type FileHandle, open } from 'node:fs/promises'
import * as z from 'zod'

// One file holds an object whole, so that one rename or link publishes it:
//   body, then the description as JSON, then its length (uint32, big endian), then a mark of eight bytes.

const description = z.strictObject({
  key: z.string(),
  etag: z.string(),
  lastModified: z.iso.datetime(),
  /** Response headers that the writer chose: content-type and the like, and x-amz-meta-*. */
  headers: z.record(z.string(), z.string()),
  /** `x-amz-checksum-*` by algorithm, as the writer sent it and as it was verified. */
  checksum: z
    .strictObject({ algorithm: z.string(), value: z.string(), type: z.enum(['FULL_OBJECT', 'COMPOSITE']) })
    .optional(),
})

export type ObjectDescription = Readonly<z.infer<typeof description>>

export type StoredObject = ObjectDescription & { readonly bytes: number }

export type OpenObject = {
  readonly object: StoredObject
  /** Bytes `first` to `last`, both included. Ends by closing the file. */
  read(first: number, last: number): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

/** Writes the file `path`, which must not exist. `describe` is asked when the body has been read to its end. */
export async function writeObjectFile(
  path: string,
  body: AsyncIterable<Uint8Array>,
  finish: { readonly describe: () => ObjectDescription; readonly durable: boolean },
): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    for await (const chunk of body) await file.writeFile(chunk)
    const text = Buffer.from(JSON.stringify(finish.describe()))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(text.byteLength)
    await file.writeFile(Buffer.concat([text, length, MARK]))
    if (finish.durable) await file.sync()
  } finally {
    await file.close()
  }
}

/** Undefined when there is no such file. */
export async function openObjectFile(path: string): Promise<OpenObject | undefined> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!file) return undefined
  try {
    const object = await readDescription(file, path)
    return { object, read: (first, last) => readRange(file, first, last), close: () => file.close() }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function readDescription(file: FileHandle, path: string): Promise<StoredObject> {
  const { size } = await file.stat()
  const footer = await readExactly(file, size - FOOTER_BYTES, FOOTER_BYTES)
  if (!footer?.subarray(4).equals(MARK))
    throw new Error(`${path} is not a whole object: restore it or remove it`)
  const length = footer.readUInt32BE(0)
  const text = await readExactly(file, size - FOOTER_BYTES - length, length)
  return { ...description.parse(JSON.parse(text?.toString() ?? 'null')), bytes: size - FOOTER_BYTES - length }
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer | undefined> {
  if (position < 0) return undefined
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return bytesRead === length ? buffer : undefined
}

async function* readRange(file: FileHandle, first: number, last: number): AsyncGenerator<Uint8Array> {
  try {
    for (let position = first; position <= last; ) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, last - position + 1))
      const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, position)
      if (bytesRead === 0) throw new Error('the object file became shorter while it was read')
      yield buffer.subarray(0, bytesRead)
      position += bytesRead
    }
  } finally {
    await file.close()
  }
}

const MARK = Buffer.from('CFOBJ01\n')
const FOOTER_BYTES = 4 + MARK.byteLength
const READ_BYTES = 256 * 1024
