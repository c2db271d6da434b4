import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { type Bucket, isForbidden, type StoreOutcome } from '@crystal-forge/aws'

/** The tenant's part of the object store, as this builder's own identity reaches it. Keys are below the prefix. */
export type CacheBucket = {
  /**
   * A builder may not list the bucket, which others share, and so is told that what is not there is forbidden. When it is
   * the right that is missing, writing will say so.
   */
  has(key: string): Promise<boolean>
  /**
   * Write-once: durable when the promise resolves, `exists` when somebody was first. The bytes of one key are always
   * the same, so both are success.
   */
  putFile(
    key: string,
    file: string,
    options: { readonly contentType: string; readonly signal: AbortSignal },
  ): Promise<{ outcome: StoreOutcome; bytes: number }>
  /** Undefined when there is no such object. */
  get(key: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array> | undefined>
}

export function cacheBucket(bucket: Bucket, prefix: string): CacheBucket {
  const full = (key: string): string => `${prefix}/${key}`
  return {
    async has(key) {
      try {
        return (await bucket.head(full(key))) !== undefined
      } catch (error) {
        if (isForbidden(error)) return false
        throw error
      }
    },
    async putFile(key, file, { contentType, signal }) {
      const { size } = await stat(file)
      const content = createReadStream(file, { signal })
      const { outcome } = await bucket.putStreamIfAbsent(full(key), content, { contentType })
      return { outcome, bytes: size }
    },
    get: async (key, signal) => (await bucket.get(full(key), signal))?.body,
  }
}
