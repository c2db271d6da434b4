import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { crc32 } from 'node:zlib'
import { S3Error } from './s3-error.ts'

export type Checksum = { readonly algorithm: string; readonly value: string }

export type RequestBody = {
  readonly content: AsyncIterable<Uint8Array>
  /** To be called when `content` was read to its end. Throws S3Error when the body is not what its headers promise. */
  verify(): Verified
}

export type Verified = {
  readonly md5: string
  readonly bytes: number
  readonly checksum: Checksum | undefined
}

/** The body of a write: decoded from aws-chunked when it is, digested while it streams. */
export function requestBody(raw: AsyncIterable<Uint8Array>, headers: IncomingHttpHeaders): RequestBody {
  const chunked = [headers['content-encoding'] ?? '', header(headers, 'x-amz-content-sha256') ?? ''].some(
    (value) => /aws-chunked|^STREAMING-/.test(value),
  )
  const trailers: Record<string, string> = {}
  const digests = newDigests(promised(headers))
  let bytes = 0
  async function* content(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunked ? decodeChunked(raw, trailers) : raw) {
      bytes += chunk.byteLength
      if (bytes > BODY_BYTES_MAX) throw new S3Error(400, 'EntityTooLarge', 'a single write may have 5 GiB')
      digests.update(chunk)
      yield chunk
    }
  }
  return {
    content: content(),
    verify: () => {
      const said = { ...headers, ...trailers }
      refuseShort(bytes, headers)
      const results = digests.finish()
      refuseWrong(said, results)
      return { md5: results.get('md5')?.toString('hex') ?? '', bytes, checksum: checksumOf(said) }
    },
  }
}

function refuseShort(bytes: number, headers: IncomingHttpHeaders): void {
  const promised = header(headers, 'x-amz-decoded-content-length')
  if (promised !== undefined && Number(promised) !== bytes) {
    throw new S3Error(
      400,
      'IncompleteBody',
      `the body has ${bytes} bytes and not the ${promised} that were announced`,
    )
  }
}

type DigestName = 'md5' | 'sha1' | 'sha256' | 'crc32'
type Results = ReadonlyMap<DigestName, Buffer>

/** The digests that the headers, or the trailers that they announce, will be compared with; MD5 becomes the ETag. */
function promised(headers: IncomingHttpHeaders): Set<DigestName> {
  const trailers = (header(headers, 'x-amz-trailer') ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  const wanted = PROMISES.filter(({ name }) => headers[name] !== undefined || trailers.includes(name))
  return new Set<DigestName>(['md5', ...wanted.map(({ digest }) => digest)])
}

function refuseWrong(said: IncomingHttpHeaders, results: Results): void {
  for (const { name, digest, encoding } of PROMISES) {
    const value = header(said, name)
    // Otherwise one of the words that mean "not signed" or "in chunks".
    if (value === undefined || (encoding === 'hex' && !/^[0-9a-f]{64}$/.test(value))) continue
    const computed = results.get(digest)
    if (!computed)
      throw new S3Error(400, 'MalformedTrailerError', `${name} came as a trailer that was not announced`)
    if (value !== computed.toString(encoding))
      throw new S3Error(400, 'BadDigest', `${name} does not match the body`)
  }
}

/** Only what was verified is kept: an algorithm that is not computed here is not repeated to readers. */
function checksumOf(said: IncomingHttpHeaders): Checksum | undefined {
  for (const algorithm of VERIFIED_ALGORITHMS) {
    const value = header(said, `x-amz-checksum-${algorithm}`)
    if (value !== undefined) return { algorithm, value }
  }
  return undefined
}

type Digests = { update(chunk: Uint8Array): void; finish(): Results }

function newDigests(names: ReadonlySet<DigestName>): Digests {
  const hashes = [...names].flatMap((name) => (name === 'crc32' ? [] : [[name, createHash(name)] as const]))
  let crc = 0
  return {
    update: (chunk) => {
      for (const [, hash] of hashes) hash.update(chunk)
      if (names.has('crc32')) crc = crc32(chunk, crc)
    },
    finish: () => {
      const results = new Map<DigestName, Buffer>(hashes.map(([name, hash]) => [name, hash.digest()]))
      if (names.has('crc32')) results.set('crc32', bigEndian(crc))
      return results
    },
  }
}

function bigEndian(value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeUInt32BE(value)
  return four
}

/**
 * aws-chunked: `<hex size>[;chunk-signature=...]\r\n<data>\r\n`, a chunk of size 0, then trailers as header lines. The
 * signatures are not checked. Trailers are put into `trailers` with lower-case names.
 */
export async function* decodeChunked(
  raw: AsyncIterable<Uint8Array>,
  trailers: Record<string, string>,
): AsyncGenerator<Uint8Array> {
  const reader = lineReader(raw)
  for (;;) {
    const size = chunkSize(await reader.line())
    if (size === 0) break
    yield* reader.bytes(size)
    if ((await reader.line()) !== '') throw malformed('a chunk is longer than it says')
  }
  for (let line = await reader.line(); line !== ''; line = await reader.line()) {
    const colon = line.indexOf(':')
    if (colon < 1) throw malformed('a trailer is not "name: value"')
    trailers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim()
  }
}

function chunkSize(line: string): number {
  const [digits = ''] = line.split(';')
  if (!/^[0-9a-fA-F]{1,8}$/.test(digits)) throw malformed('a chunk does not begin with its size')
  return Number.parseInt(digits, 16)
}

type LineReader = { line(): Promise<string>; bytes(count: number): AsyncGenerator<Uint8Array> }

function lineReader(raw: AsyncIterable<Uint8Array>): LineReader {
  const source = raw[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)
  const more = async (): Promise<boolean> => {
    const { done, value } = await source.next()
    if (done) return false
    held = held.byteLength === 0 ? Buffer.from(value) : Buffer.concat([held, value])
    return true
  }
  return {
    line: async () => {
      for (;;) {
        const end = held.indexOf('\r\n')
        if (end !== -1) {
          const text = held.toString('latin1', 0, end)
          held = held.subarray(end + 2)
          return text
        }
        if (held.byteLength > LINE_BYTES_MAX) throw malformed('a line is too long')
        // The empty line after the trailers is left out by some clients.
        if (!(await more())) return finalLine(held)
      }
    },
    bytes: async function* (count) {
      let left = count
      while (left > 0) {
        if (held.byteLength === 0 && !(await more())) throw malformed('the body ends inside a chunk')
        const taken = held.subarray(0, left)
        held = held.subarray(taken.byteLength)
        left -= taken.byteLength
        yield taken
      }
    },
  }
}

function finalLine(held: Buffer): string {
  if (held.byteLength > 0) throw malformed('the body ends inside a line')
  return ''
}

function malformed(why: string): S3Error {
  return new S3Error(400, 'IncompleteBody', `the aws-chunked body cannot be read: ${why}`)
}

/** One value of a header. */
export function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

const VERIFIED_ALGORITHMS = ['sha256', 'sha1', 'crc32'] as const
type PromisedDigest = {
  readonly name: string
  readonly digest: DigestName
  readonly encoding: 'base64' | 'hex'
}
const PROMISES: readonly PromisedDigest[] = [
  { name: 'content-md5', digest: 'md5', encoding: 'base64' },
  { name: 'x-amz-checksum-sha1', digest: 'sha1', encoding: 'base64' },
  { name: 'x-amz-checksum-sha256', digest: 'sha256', encoding: 'base64' },
  { name: 'x-amz-checksum-crc32', digest: 'crc32', encoding: 'base64' },
  { name: 'x-amz-content-sha256', digest: 'sha256', encoding: 'hex' },
]
const BODY_BYTES_MAX = 5 * 1024 ** 3
const LINE_BYTES_MAX = 16 * 1024
