import { setTimeout as sleep } from 'node:timers/promises'
import type { HintQueue } from '../src/work-loop.ts'

type Message = { body: string; hiddenUntil: number }

/** A queue in memory: delivers at least once, hides what was received, and forgets what was deleted. */
export type MemoryHints = HintQueue & {
  readonly messages: Set<Message>
  /** What was told to the queue about each message, in order: `delete` or the seconds of `hide`. */
  readonly told: (string | number)[]
  put(hint: object | string): void
  /** The next `receive` throws. */
  breakOnce(): void
}

export function memoryHints(visibilityS = 30): MemoryHints {
  const messages = new Set<Message>()
  const told: (string | number)[] = []
  let broken = false
  const next = (): Message | undefined =>
    [...messages].find(({ hiddenUntil }) => hiddenUntil <= performance.now())
  return {
    messages,
    told,
    put(hint) {
      messages.add({ body: typeof hint === 'string' ? hint : JSON.stringify(hint), hiddenUntil: 0 })
    },
    breakOnce() {
      broken = true
    },
    async receive(signal) {
      if (broken) {
        broken = false
        throw new Error('the queue is away')
      }
      for (let polls = 0; polls < 4 && !signal.aborted; polls++) {
        const message = next()
        if (message !== undefined) return received(message)
        await sleep(5, undefined, { signal }).catch(() => {})
      }
      return null
    },
  }

  function received(message: Message) {
    message.hiddenUntil = performance.now() + visibilityS * 1000
    return {
      body: message.body,
      async delete() {
        told.push('delete')
        messages.delete(message)
      },
      async hide(seconds: number) {
        told.push(seconds)
        message.hiddenUntil = performance.now() + seconds * 1000
      },
    }
  }
}
