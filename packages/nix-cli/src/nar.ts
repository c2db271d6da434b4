import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress, constants as zlib } from 'node:zlib'
import { nix32OfHash, type StorePath, sha256ToSri } from '@crystal-forge/protocol'
import { type NixStore, physicalPath } from './nix-environment.ts'

export type PackedNar = {
  /** SRI of the archive before compression: what a narinfo signs. */
  readonly narHash: string
  readonly narSize: number
  /** SRI of the compressed file. */
  readonly fileHash: string
  /** The same in 52 digits of Nix's base 32, the usual name of the file. */
  readonly fileHashNix32: string
  readonly fileSize: number
}

/**
 * Writes a store path as a zstd-compressed archive into a new file and hashes both sides on the way. Memory stays bounded whatever the size.
 * @throws the error of the file system, also when a file changes while it is read; the file is then incomplete.
 */
export async function packNar(pack: {
  readonly store: NixStore
  readonly path: StorePath
  readonly file: string
  readonly signal?: AbortSignal
}): Promise<PackedNar> {
  const inner = meter()
  const outer = meter()
  await pipeline(
    narStream(physicalPath(pack.store, pack.path)),
    inner.stream,
    createZstdCompress({ params: { [zlib.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }),
    outer.stream,
    createWriteStream(pack.file, { flags: 'wx', mode: 0o600 }),
    pack.signal === undefined ? {} : { signal: pack.signal },
  )
  const [nar, file] = [inner.result(), outer.result()]
  return {
    narHash: nar.hash,
    narSize: nar.bytes,
    fileHash: file.hash,
    fileHashNix32: nix32OfHash(file.hash).slice('sha256:'.length),
    fileSize: file.bytes,
  }
}

/** The hash (SRI) and size of a path's archive as it lies on the disk now. */
export async function hashPath(
  path: string,
): Promise<{ readonly narHash: string; readonly narSize: number }> {
  const hash = createHash('sha256')
  let narSize = 0
  for await (const chunk of nar(path)) {
    hash.update(chunk)
    narSize += chunk.length
  }
  return { narHash: sha256ToSri(hash.digest()), narSize }
}

/** `nix-store --dump` as a stream. */
export function narStream(path: string): Readable {
  return Readable.from(nar(path), { objectMode: false, highWaterMark: CHUNK_BYTES })
}

/** A Nix archive: files, their executable bit, links and directories in the order of the bytes of their names; nothing else is kept. */
async function* nar(path: string): AsyncGenerator<Buffer> {
  yield text('nix-archive-1')
  yield* node(Buffer.from(path))
}

async function* node(path: Buffer): AsyncGenerator<Buffer> {
  const stat = await lstat(path)
  if (stat.isSymbolicLink()) {
    yield Buffer.concat([
      text('('),
      text('type'),
      text('symlink'),
      text('target'),
      text(await readlink(path, { encoding: 'buffer' })),
      text(')'),
    ])
  } else if (stat.isDirectory()) {
    yield Buffer.concat([text('('), text('type'), text('directory')])
    const names = await readdir(path, { encoding: 'buffer' })
    for (const name of names.toSorted(Buffer.compare)) {
      yield Buffer.concat([text('entry'), text('('), text('name'), text(name), text('node')])
      yield* node(Buffer.concat([path, SLASH, name]))
      yield text(')')
    }
    yield text(')')
  } else if (stat.isFile()) {
    yield* regular(path, stat.size, (stat.mode & 0o100) !== 0)
  } else {
    throw new Error(`${path} is no file, link or directory and cannot be in an archive`)
  }
}

async function* regular(path: Buffer, size: number, executable: boolean): AsyncGenerator<Buffer> {
  const mark = executable ? [text('executable'), text('')] : []
  yield Buffer.concat([text('('), text('type'), text('regular'), ...mark, text('contents'), length(size)])
  let read = 0
  if (size > 0) {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
      read += chunk.length
      yield chunk
    }
  }
  if (read !== size) throw new Error(`${path} changed while it was read: ${read} bytes instead of ${size}`)
  yield Buffer.concat([PADDING.subarray(0, padding(size)), text(')')])
}

/** A string of the format: its length in eight bytes, itself, and zeroes up to a multiple of eight. */
function text(content: string | Buffer): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  return Buffer.concat([length(bytes.length), bytes, PADDING.subarray(0, padding(bytes.length))])
}

function length(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function padding(size: number): number {
  return (8 - (size % 8)) % 8
}

function meter(): {
  readonly stream: Transform
  result(): { readonly hash: string; readonly bytes: number }
} {
  const hash = createHash('sha256')
  let bytes = 0
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
  })
  return { stream, result: () => ({ hash: sha256ToSri(hash.digest()), bytes }) }
}

const SLASH = Buffer.from('/')
const PADDING = Buffer.alloc(8)
const CHUNK_BYTES = 256 * 1024
/** Uploads are bounded by the line; level 3 keeps one core ahead of a gigabit. */
const ZSTD_LEVEL = 3
