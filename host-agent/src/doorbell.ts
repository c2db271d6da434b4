/** Wakes one waiting loop. A ring while nobody waits is remembered, several are one. */
export type Doorbell = {
  ring(): void
  /** Resolves after a ring, after `ms`, or when the signal is aborted, whichever comes first. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

export function doorbell(): Doorbell {
  let rung = false
  let wake: (() => void) | null = null
  return {
    ring() {
      rung = true
      wake?.()
    },
    async wait(ms, signal) {
      if (!rung && !signal.aborted && ms > 0) {
        await new Promise<void>((resolve) => {
          const done = () => {
            clearTimeout(timer)
            signal.removeEventListener('abort', done)
            wake = null
            resolve()
          }
          const timer = setTimeout(done, Math.min(ms, TIMER_MS_MAX))
          signal.addEventListener('abort', done)
          wake = done
        })
      }
      rung = false
    },
  }
}

/** Node fires longer timers at once. */
const TIMER_MS_MAX = 2 ** 31 - 1
