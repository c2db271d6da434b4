import type { Bucket } from '@crystal-forge/aws'

type Stored = { readonly bytes: Buffer; readonly contentType: string | undefined }

/**
 * The part of a bucket that the cache uses, in memory. `failNext` makes one of the next writes fail: before it happened, or
 * after it happened with the answer lost.
 */
export type MemoryBucket = Pick<Bucket, 'head' | 'put' | 'putIfAbsent'> & {
  readonly objects: Map<string, Stored>
  /** Keys in the order of their writes. */
  readonly written: string[]
  failNext(when: 'before' | 'after', afterWrites?: number): void
}

export function memoryBucket(): MemoryBucket {
  const objects = new Map<string, Stored>()
  const written: string[] = []
  let failing: { when: 'before' | 'after'; left: number } | undefined
  const write = (key: string, body: Uint8Array | string, contentType: string | undefined): void => {
    const fails = failing !== undefined && failing.left-- === 0 ? failing.when : undefined
    if (fails !== undefined) failing = undefined
    if (fails === 'before') throw new Error(`the connection broke before ${key}`)
    objects.set(key, { bytes: Buffer.from(body), contentType })
    written.push(key)
    if (fails === 'after') throw new Error(`the connection broke after ${key}`)
  }
  return {
    objects,
    written,
    failNext: (when, afterWrites = 0) => {
      failing = { when, left: afterWrites }
    },
    head: async (key) => {
      const found = objects.get(key)
      if (found === undefined) return undefined
      return {
        bytes: found.bytes.length,
        etag: '"x"',
        contentType: found.contentType,
        lastModified: undefined,
      }
    },
    put: async (key, body, headers) => write(key, body, headers?.contentType),
    putIfAbsent: async (key, body, headers) => {
      if (objects.has(key)) return 'exists'
      write(key, body, headers?.contentType)
      return 'stored'
    },
  }
}
