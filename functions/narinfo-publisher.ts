import type { Bucket } from '@crystal-forge/aws'
import { publishWaves } from '@crystal-forge/control-plane'
import { type CachedPath, signedInfo } from '@crystal-forge/postgres'
import { hashPart, nix32OfHash, renderNarInfo, STORE_DIRECTORY, storePath } from '@crystal-forge/protocol'
import { inParallel } from './in-parallel.ts'

/** Writes the narinfos of committed paths below a tenant's prefix, none before those that it refers to. Repeating it is safe. */
export type PublishNarinfos = (prefix: string, paths: readonly CachedPath[]) => Promise<void>

export function narinfoPublisher(objects: Pick<Bucket, 'put' | 'putIfAbsent'>): PublishNarinfos {
  const introduced = new Set<string>()
  return async (prefix, paths) => {
    if (paths.length > 0 && !introduced.has(prefix)) {
      await objects.putIfAbsent(`${prefix}/nix-cache-info`, CACHE_INFO, {
        contentType: 'text/x-nix-cache-info',
      })
      introduced.add(prefix)
    }
    const ordered = publishWaves(paths)
    if (ordered.kind === 'circle')
      throw new RangeError(`paths refer to each other in a circle: ${ordered.paths.join(', ')}`)
    for (const wave of ordered.waves)
      await inParallel(wave, WRITES_MAX, (path) =>
        objects.put(`${prefix}/${hashPart(storePath(path.path))}.narinfo`, narinfoOf(path), {
          contentType: 'text/x-nix-narinfo',
        }),
      )
  }
}

function narinfoOf(path: CachedPath): string {
  const colon = path.signature.indexOf(':')
  return renderNarInfo({
    ...signedInfo(path),
    url: path.url,
    compression: path.compression,
    fileHash: nix32OfHash(path.file_hash),
    fileSize: path.file_size,
    deriver: path.deriver === null ? null : storePath(path.deriver),
    ca: path.ca,
    signatures: [{ keyName: path.signature.slice(0, colon), base64: path.signature.slice(colon + 1) }],
  })
}

/** Below cache.nixos.org, whose priority is 40: what it has is fetched from there. */
const CACHE_INFO = `StoreDir: ${STORE_DIRECTORY}\nWantMassQuery: 1\nPriority: 50\n`
const WRITES_MAX = 16
