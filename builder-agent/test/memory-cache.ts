import { readFile } from 'node:fs/promises'
import type { CacheBucket } from '../src/cache-bucket.ts'

/** The tenant's part of the bucket, in memory. `hold` stops writes until it is released. */
export function memoryCache(): CacheBucket & {
  readonly objects: Map<string, Buffer>
  readonly writes: string[]
} {
  const objects = new Map<string, Buffer>()
  const writes: string[] = []
  return {
    objects,
    writes,
    has: async (key) => objects.has(key),
    async putFile(key, file, { signal }) {
      signal.throwIfAborted()
      const bytes = await readFile(file)
      writes.push(key)
      const there = objects.get(key)
      // Write once: whoever comes second with other bytes would break a signature.
      if (there !== undefined && !there.equals(bytes)) throw new Error(`${key} is written with other bytes`)
      objects.set(key, bytes)
      return { outcome: there === undefined ? 'stored' : 'exists', bytes: bytes.length }
    },
    async get(key) {
      const bytes = objects.get(key)
      return bytes === undefined ? undefined : one(bytes)
    },
  }
}

async function* one(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}
