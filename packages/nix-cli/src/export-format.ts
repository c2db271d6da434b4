import { createHash } from 'node:crypto'
import { encodeNixBase32, isDrvPath, namePart, parseStorePath, type StorePath } from '@crystal-forge/protocol'
import { ByteReader } from './byte-reader.ts'
import { compareText } from './text-order.ts'

export type ExportLimits = {
  readonly bytesMax: number
  readonly pathsMax: number
}

export type ExportedPath = {
  readonly path: StorePath
  readonly references: readonly StorePath[]
  /** How the path follows from its content: a text (`.drv`), a source tree, or a single file. */
  readonly kind: 'text' | 'source' | 'file'
}

/**
 * Reads what `nix-store --export` writes and proves that it holds recipes and sources only: the name of every path must follow from its
 * own content. `nix-store --import` checks none of that for root, not even signatures, so nothing else may reach it.
 * @throws RangeError that says what is wrong and where.
 */
export async function checkExport(
  chunks: AsyncIterable<Uint8Array>,
  limits: ExportLimits,
): Promise<readonly ExportedPath[]> {
  const reader = new ByteReader(chunks, limits.bytesMax)
  const paths: ExportedPath[] = []
  for (let more = await reader.number(); more !== 0; more = await reader.number()) {
    if (more !== 1) throw new RangeError(`this is not an export of Nix: ${more} at byte ${reader.position}`)
    if (paths.length >= limits.pathsMax)
      throw new RangeError(`the archive holds more than ${limits.pathsMax} paths`)
    paths.push(await exportedPath(reader))
  }
  if (!(await reader.isAtEnd())) throw new RangeError('the archive goes on after its end')
  return paths
}

async function exportedPath(reader: ByteReader): Promise<ExportedPath> {
  const archive = createHash('sha256')
  reader.observe((bytes) => archive.update(bytes))
  const file = await skipNar(reader)
  reader.observe(undefined)
  const narSha256 = archive.digest()
  if ((await reader.number()) !== EXPORT_MAGIC)
    throw new RangeError(`a path without its mark at byte ${reader.position}`)
  const path = checkedPath(await reader.string(PATH_BYTES_MAX))
  const count = await reader.number()
  if (count > REFERENCES_MAX)
    throw new RangeError(`${path} has ${count} references; at most ${REFERENCES_MAX} are allowed`)
  const references: StorePath[] = []
  for (let index = 0; index < count; index++)
    references.push(checkedPath(await reader.string(PATH_BYTES_MAX)))
  await reader.string(PATH_BYTES_MAX)
  if ((await reader.number()) !== 0)
    throw new RangeError(`${path} carries a signature of a format that is no longer used`)
  return { path, references, kind: provenKind({ path, references, narSha256, file }) }
}

type Content = {
  readonly path: StorePath
  readonly references: readonly StorePath[]
  readonly narSha256: Buffer
  /** The SHA-256 of the content when the archive is one file that is not executable. */
  readonly file: Buffer | null
}

/** Which of Nix's three ways to name a path by its content gives this name. @throws RangeError when none does. */
function provenKind(content: Content): ExportedPath['kind'] {
  const { path, references, narSha256, file } = content
  const sorted = references.toSorted(compareText)
  const typed = (type: string): string => [type, ...sorted].join(':')
  if (file !== null && path === pathFor(typed('text'), file, path)) return 'text'
  if (isDrvPath(path)) throw new RangeError(`${path} is not the recipe that its name promises`)
  if (path === pathFor(typed('source'), narSha256, path)) return 'source'
  if (file !== null && references.length === 0) {
    const fixed = createHash('sha256')
      .update(`fixed:out:sha256:${file.toString('hex')}:`)
      .digest()
    if (path === pathFor('output:out', fixed, path)) return 'file'
  }
  throw new RangeError(`${path} is neither a recipe nor a source: its name does not follow from its content`)
}

/** A store path as Nix computes it from a type, a hash and a name: 20 bytes folded from a SHA-256. */
function pathFor(type: string, sha256: Buffer, path: StorePath): string {
  const name = namePart(path)
  const digest = createHash('sha256')
    .update(`${type}:sha256:${sha256.toString('hex')}:/nix/store:${name}`)
    .digest()
  const folded = new Uint8Array(20)
  for (const [index, byte] of digest.entries()) folded[index % 20] = (folded[index % 20] ?? 0) ^ byte
  return `/nix/store/${encodeNixBase32(folded)}-${name}`
}

/** Walks over an archive and checks its grammar. Returns the hash of its content when it is one plain file. */
async function skipNar(reader: ByteReader): Promise<Buffer | null> {
  await expect(reader, 'nix-archive-1')
  return skipNode(reader, 0)
}

async function skipNode(reader: ByteReader, depth: number): Promise<Buffer | null> {
  if (depth > DEPTH_MAX) throw new RangeError(`directories deeper than ${DEPTH_MAX}`)
  await expect(reader, '(')
  await expect(reader, 'type')
  const type = await word(reader)
  switch (type) {
    case 'regular':
      return skipRegular(reader)
    case 'symlink':
      await expect(reader, 'target')
      await reader.string(PATH_BYTES_MAX)
      await expect(reader, ')')
      return null
    case 'directory':
      await skipEntries(reader, depth)
      return null
    default:
      throw new RangeError(`an entry of the type ${JSON.stringify(type)} at byte ${reader.position}`)
  }
}

async function skipRegular(reader: ByteReader): Promise<Buffer | null> {
  let next = await word(reader)
  const executable = next === 'executable'
  if (executable) {
    await expect(reader, '')
    next = await word(reader)
  }
  const hash = createHash('sha256')
  if (next === 'contents') {
    const size = await reader.number()
    await reader.each(size, (part) => hash.update(part))
    await reader.zeroes((8 - (size % 8)) % 8)
    next = await word(reader)
  }
  if (next !== ')') throw new RangeError(`a file that does not end at byte ${reader.position}`)
  return executable ? null : hash.digest()
}

async function skipEntries(reader: ByteReader, depth: number): Promise<void> {
  let before: Buffer | undefined
  for (let next = await word(reader); next !== ')'; next = await word(reader)) {
    if (next !== 'entry') throw new RangeError(`a directory that does not end at byte ${reader.position}`)
    await expect(reader, '(')
    await expect(reader, 'name')
    const name = await reader.string(NAME_BYTES_MAX)
    if (
      name.length === 0 ||
      name.includes(0) ||
      name.includes('/') ||
      name.equals(DOT) ||
      name.equals(DOTS)
    ) {
      throw new RangeError(`a file name that is none at byte ${reader.position}`)
    }
    if (before !== undefined && Buffer.compare(before, name) >= 0)
      throw new RangeError(`file names out of order at byte ${reader.position}`)
    before = name
    await expect(reader, 'node')
    await skipNode(reader, depth + 1)
    await expect(reader, ')')
  }
}

async function expect(reader: ByteReader, wanted: string): Promise<void> {
  const found = await word(reader)
  if (found !== wanted)
    throw new RangeError(
      `${JSON.stringify(found)} instead of ${JSON.stringify(wanted)} at byte ${reader.position}`,
    )
}

async function word(reader: ByteReader): Promise<string> {
  return (await reader.string(16)).toString('latin1')
}

function checkedPath(bytes: Buffer): StorePath {
  const path = parseStorePath(bytes.toString('latin1'))
  if (path === null)
    throw new RangeError(`not a store path: ${JSON.stringify(bytes.toString('latin1').slice(0, 100))}`)
  return path
}

/** "NIXE" as the number that Nix writes after each archive. */
const EXPORT_MAGIC = 0x4558_494e
const PATH_BYTES_MAX = 4_096
const NAME_BYTES_MAX = 255
const REFERENCES_MAX = 100_000
const DEPTH_MAX = 256
const DOT = Buffer.from('.')
const DOTS = Buffer.from('..')
