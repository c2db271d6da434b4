import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { LoadOrder, LoadResult } from './load-process.ts'

/**
 * Runs a load from a process of its own, so that neither its event loop nor its garbage is measured with the server's.
 * `onStart` is called when all requests are made and the clock is about to start.
 */
export async function runLoad(order: LoadOrder, onStart: () => void = () => {}): Promise<LoadResult> {
  const child = fork(new URL('./load-process.ts', import.meta.url), { serialization: 'advanced' })
  const ended = once(child, 'exit')
  const failed = ended.then(([code]) => Promise.reject(new Error(`the load ended early (${code})`)))
  failed.catch(() => {})
  const answer = async (): Promise<unknown> => (await Promise.race([once(child, 'message'), failed]))[0]
  child.send(order)
  await answer()
  onStart()
  child.send('go')
  // The only thing that it sends after `ready`.
  const result = (await answer()) as LoadResult
  await ended
  return result
}

/** The value below which `share` of the values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}
