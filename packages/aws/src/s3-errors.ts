import { setTimeout as sleep } from 'node:timers/promises'

/** Carries out a write that must not replace anything. */
export async function writeOnce(write: () => Promise<void>): Promise<'stored' | 'exists'> {
  for (let attempt = 1; ; attempt++) {
    try {
      await write()
      return 'stored'
    } catch (error) {
      const status = statusOf(error)
      if (status === 412) return 'exists'
      // Two conditional writes met; the loser is told to ask again, and then sees what the winner did.
      if (status !== 409 || attempt === ATTEMPTS_MAX) throw error
      await sleep(PAUSE_MS * attempt)
    }
  }
}

/** No such object. A missing bucket is a mistake of the set-up and stays an error, where the answer tells the two apart. */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket'
}

/** What somebody hears who may not do it, and also who asks for an object that is not there and may not list the bucket. */
export function isForbidden(error: unknown): boolean {
  return statusOf(error) === 403
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || !error || !('$metadata' in error)) return undefined
  const metadata = error.$metadata
  if (typeof metadata !== 'object' || !metadata || !('httpStatusCode' in metadata)) return undefined
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}

const ATTEMPTS_MAX = 5
const PAUSE_MS = 50
