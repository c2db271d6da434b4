import { createHash } from 'node:crypto'
import { type SignedPathInfo, sortedPaths } from './narinfo.ts'
import { nix32OfHash } from './nix-hash.ts'
import type { StorePath } from './store-path.ts'

/**
 * What pins a closure: SHA-256 over one line a path, `<storePath> <narHash> <narSize> <references with commas>` and a line feed,
 * sorted by path. The NAR hash is spelled `sha256:<nix32>`, references are absolute, sorted, each once.
 * Signatures do not do this: content-addressed paths pass every signature check.
 * @throws RangeError when a path appears twice or a NAR hash is not a SHA-256.
 */
export function closureDigest(paths: readonly SignedPathInfo[]): {
  readonly count: number
  readonly sha256: string
} {
  const lines = new Map<StorePath, string>()
  for (const info of paths) {
    if (lines.has(info.storePath)) throw new RangeError(`${info.storePath} appears twice in the closure`)
    const references = sortedPaths(info.references).join(',')
    lines.set(
      info.storePath,
      `${info.storePath} ${nix32OfHash(info.narHash)} ${info.narSize} ${references}
`,
    )
  }
  const hash = createHash('sha256')
  for (const path of sortedPaths([...lines.keys()])) hash.update(lines.get(path) ?? '')
  return { count: lines.size, sha256: hash.digest('hex') }
}
