import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { PassThrough, pipeline as pipe, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdCompress, createZstdDecompress, constants as zlib } from 'node:zlib'
import { parseStorePath, type StorePath } from '@crystal-forge/protocol'
import { checkExport, type ExportedPath, type ExportLimits } from './export-format.ts'
import { answerOf, failureOf, infra, type NixCall, type NixFailure, nixStoreCommand } from './nix-call.ts'
import { runCommand } from './run-command.ts'

export type ExportedDerivations = {
  readonly kind: 'exported'
  /** Of the compressed file, lower case hex; the object is named after it. */
  readonly sha256: string
  readonly bytes: number
  readonly paths: number
}

/**
 * Writes a derivation with everything it is built from (recipes and sources, no outputs) into one zstd file, so that another machine can
 * build it without evaluating. The file appears whole or not at all.
 */
export async function exportDerivations(
  call: NixCall,
  work: { readonly drvPath: StorePath; readonly file: string },
): Promise<ExportedDerivations | NixFailure> {
  const listed = await answerOf(nixStoreCommand(call, ['--query', '--requisites', work.drvPath]))
  if (listed.kind === 'failed') return listed
  const paths = listed.stdout.split('\n').filter((line) => line !== '')
  const partial = `${work.file}.${randomUUID()}.partial`
  const stdout = new PassThrough()
  const hash = createHash('sha256')
  let bytes = 0
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
  })
  try {
    const written = pipeline(
      stdout,
      createZstdCompress({ params: { [zlib.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }),
      meter,
      createWriteStream(partial, { mode: 0o600 }),
    )
    const [outcome] = await Promise.all([
      runCommand({ ...nixStoreCommand(call, ['--export', ...paths]), stdout }),
      written,
    ])
    if (outcome.kind !== 'exited' || outcome.code !== 0) return failureOf('nix-store --export', outcome)
    await rename(partial, work.file)
    return { kind: 'exported', sha256: hash.digest('hex'), bytes, paths: paths.length }
  } catch (error) {
    return infra(`the derivations could not be written to ${work.file}: ${messageOf(error)}`)
  } finally {
    await rm(partial, { force: true })
  }
}

export type ImportedDerivations =
  | { readonly kind: 'imported'; readonly paths: readonly StorePath[] }
  /** The file is not what it must be; another attempt with the same file ends the same way. */
  | { readonly kind: 'refused'; readonly message: string }
  | NixFailure

/**
 * Brings an exported derivation into the store. The whole file is read and proven first (see `checkExport`); only then Nix gets it.
 * `drvPath` must be in it: a changed recipe has another path.
 */
export async function importDerivations(
  call: NixCall,
  work: { readonly drvPath: StorePath; readonly file: string; readonly limits?: ExportLimits },
): Promise<ImportedDerivations> {
  const checked = await checkFile(work.file, work.limits ?? IMPORT_LIMITS)
  if (typeof checked === 'string') return { kind: 'refused', message: checked }
  if (!checked.some(({ path }) => path === work.drvPath)) {
    return { kind: 'refused', message: `${work.file} does not contain ${work.drvPath}` }
  }
  const stdin = createZstdDecompress()
  // An error of the file reaches the reader of stdin, which reports it.
  pipe(createReadStream(work.file), stdin, () => undefined)
  const outcome = await runCommand({ ...nixStoreCommand(call, ['--import']), stdin })
  if (outcome.kind !== 'exited' || outcome.code !== 0) return failureOf('nix-store --import', outcome)
  const paths = outcome.stdout.split('\n').flatMap((line) => parseStorePath(line) ?? [])
  return { kind: 'imported', paths }
}

/** What is in a file of `exportDerivations`. @returns the reason as text when it is refused. */
async function checkFile(file: string, limits: ExportLimits): Promise<readonly ExportedPath[] | string> {
  const source = createReadStream(file)
  const decompressed = createZstdDecompress()
  // A pipeline hands an error of the file to the side that reads; its own rejection says nothing new.
  const fed = pipeline(source, decompressed).catch(() => undefined)
  try {
    return await checkExport(decompressed, limits)
  } catch (error) {
    return `${file} is refused: ${messageOf(error)}`
  } finally {
    decompressed.destroy()
    source.destroy()
    await fed
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Recipes and sources of a system are some MiB; a flake with everything vendored is some hundred. */
const IMPORT_LIMITS: ExportLimits = { bytesMax: 1024 * 1024 * 1024, pathsMax: 200_000 }
/** Recipes are text that repeats itself; they are compressed once and kept long. */
const ZSTD_LEVEL = 9
