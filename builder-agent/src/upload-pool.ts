import type { StorePath, UploadedPath } from '@crystal-forge/protocol'

/** The uploads of all jobs of this builder: a bounded number at a time, and no path twice. */
export type UploadPool = { begin(): PoolPush }

/** One closure on its way to the cache. */
export type PoolPush = {
  /**
   * Uploads a path when there is room, or waits for the push that is at it already. When that one fails, `upload` runs
   * after all. `own` is false for what another push has sent. Rejects when `signal` aborts.
   */
  once(
    path: StorePath,
    upload: () => Promise<UploadedPath>,
    signal: AbortSignal,
  ): Promise<{ readonly uploaded: UploadedPath; readonly own: boolean }>
  /** The closure is committed or given up: what it uploaded is no longer remembered here. */
  end(): void
}

/** @param atOnce uploads at a time. */
export function uploadPool(atOnce: number): UploadPool {
  const known = new Map<StorePath, Promise<UploadedPath>>()
  const room = semaphore(atOnce)
  return {
    begin() {
      const own = new Map<StorePath, Promise<UploadedPath>>()
      const forget = (path: StorePath): void => {
        if (known.get(path) === own.get(path)) known.delete(path)
        own.delete(path)
      }
      return {
        async once(path, upload, signal) {
          for (let other = known.get(path); other !== undefined; other = known.get(path)) {
            const uploaded = await unlessAborted(other, signal).catch(() => undefined)
            signal.throwIfAborted()
            if (uploaded !== undefined) return { uploaded, own: false }
          }
          const uploading = room(upload, signal)
          known.set(path, uploading)
          own.set(path, uploading)
          try {
            return { uploaded: await uploading, own: true }
          } catch (error) {
            forget(path)
            throw error
          }
        },
        end() {
          for (const path of [...own.keys()]) forget(path)
        },
      }
    },
  }
}

type Room = <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>

/** First come, first served. Whoever gives up while waiting passes its turn on. */
function semaphore(atOnce: number): Room {
  let free = atOnce
  const waiting: (() => void)[] = []
  return async (work, signal) => {
    if (free > 0) free -= 1
    else
      await new Promise<void>((resolve) => {
        waiting.push(resolve)
      })
    try {
      signal.throwIfAborted()
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free += 1
      else next()
    }
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let abort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new Error('given up'))
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
