import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '@crystal-forge/functions/log.ts'

/** A piece of scheduled work that can also be asked for. */
export type Timer = {
  /** Runs the work as soon as the present run has ended; many calls meanwhile are one. */
  hint(): void
  /** Resolves when the present run has ended; none begins afterwards. */
  stop(): Promise<void>
}

/**
 * Runs `work` every `everyMs` and on every hint, never twice at once. A failure is the work's own to log: the next
 * run is the retry.
 */
export function startTimer(options: { everyMs: number; work: () => Promise<unknown>; log: Log }): Timer {
  const stopping = new AbortController()
  let wanted = false
  let wake: (() => void) | undefined
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      wanted = false
      await options.work().catch((error: unknown) => options.log('warn', 'scheduled work failed', { error }))
      if (wanted || stopping.signal.aborted) continue
      const hinted = new Promise<void>((resolve) => {
        wake = resolve
      })
      const pause = new AbortController()
      await Promise.race([
        hinted,
        sleep(options.everyMs, undefined, { signal: pause.signal }).catch(() => {}),
      ])
      pause.abort()
    }
  }
  const running = loop()
  return {
    hint() {
      wanted = true
      wake?.()
    },
    async stop() {
      stopping.abort()
      wake?.()
      await running
    },
  }
}
