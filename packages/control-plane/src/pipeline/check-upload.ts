import { isContentAddress, parseNixSha256, sha256ToNix32, type UploadedPath } from '@crystal-forge/protocol'
import { publishWaves } from './publish-waves.ts'

/** Why a batch cannot be committed, by itself and without asking anybody. */
export type UploadFault = {
  readonly code: 'duplicate_path' | 'reference_cycle' | 'nar_name' | 'nar_size' | 'bad_ca'
  readonly detail: string
}

/** Checks what a batch of uploaded paths says against itself; null when nothing contradicts. */
export function checkUpload(paths: readonly UploadedPath[]): UploadFault | null {
  const seen = new Set<string>()
  for (const path of paths) {
    if (seen.has(path.path))
      return { code: 'duplicate_path', detail: `${path.path} stands twice in the batch` }
    seen.add(path.path)
    const fault = checkPath(path)
    if (fault !== null) return fault
  }
  const waves = publishWaves(paths)
  return waves.kind === 'waves'
    ? null
    : {
        code: 'reference_cycle',
        detail: `paths refer to each other in a circle: ${waves.paths.slice(0, 10).join(', ')}`,
      }
}

/** References outside of the batch: they must be published already. */
export function outsideReferences(paths: readonly UploadedPath[]): string[] {
  const inside = new Set(paths.map(({ path }) => path))
  return [...new Set(paths.flatMap(({ references }) => references))].filter((path) => !inside.has(path))
}

function checkPath(path: UploadedPath): UploadFault | null {
  const fileHash = parseNixSha256(path.file_hash)
  if (fileHash === null || parseNixSha256(path.nar_hash) === null)
    return { code: 'nar_name', detail: `${path.path}: a hash is not the base64 of 32 bytes` }
  const name = `nar/${sha256ToNix32(fileHash).slice('sha256:'.length)}.nar${path.compression === 'zstd' ? '.zst' : ''}`
  if (path.url !== name) return { code: 'nar_name', detail: `${path.path}: the file must be called ${name}` }
  if (path.nar_size === 0 || path.file_size === 0)
    return { code: 'nar_size', detail: `${path.path}: no NAR is empty` }
  if (path.compression === 'none' && (path.file_size !== path.nar_size || path.file_hash !== path.nar_hash))
    return {
      code: 'nar_size',
      detail: `${path.path}: an uncompressed file is the NAR, but their sizes or hashes differ`,
    }
  if (path.ca !== null && !isContentAddress(path.ca))
    return { code: 'bad_ca', detail: `${path.path}: ca is neither text:<hash> nor fixed:[r:]<hash>` }
  return null
}
