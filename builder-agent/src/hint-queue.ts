import type { Queue } from '@crystal-forge/aws'
import type { HintQueue } from './work-loop.ts'

/** Hints from SQS. A received one is hidden for a lease; the heartbeats of its job hide it further. */
export function hintQueue(queue: Queue, leaseS: number): HintQueue {
  return {
    async receive(signal) {
      const [message] = await queue.receive({ max: 1, waitSeconds: 20, visibilitySeconds: leaseS, signal })
      if (message === undefined) return null
      return {
        body: message.body,
        delete: async () => {
          await queue.delete([message.receipt])
        },
        hide: (seconds) => queue.changeVisibility(message.receipt, seconds),
      }
    },
  }
}
