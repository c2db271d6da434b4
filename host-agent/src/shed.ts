/** A message that waits to be sent: a report, or facts that controls are judged by. */
export type Waiting = {
  readonly sequence: number
  readonly kind: 'state' | 'heartbeat' | 'facts'
  readonly bytes: number
  /** When it was spooled, milliseconds since the epoch. */
  readonly at: number
}
export type SpoolLimits = { readonly bytesMax: number; readonly ageMaxMs: number }

/**
 * Which reports must go, in order of their sequence, so that the rest fits the limits: those beyond the age, then the oldest heartbeats, then
 * facts, and states only when nothing else remains. The newest state always stays, because heartbeats stand for it. Pure.
 * @param waiting in order of their sequence.
 */
export function shed<Entry extends Waiting>(
  waiting: readonly Entry[],
  limits: SpoolLimits,
  now: number,
): readonly Entry[] {
  const newestState = waiting.findLast((one) => one.kind === 'state')
  const gone = new Set(waiting.filter((one) => one !== newestState && now - one.at > limits.ageMaxMs))
  let bytes = waiting.reduce((sum, one) => sum + (gone.has(one) ? 0 : onDisk(one)), 0)
  for (const kind of ['heartbeat', 'facts', 'state'] as const) {
    for (const one of waiting) {
      if (bytes <= limits.bytesMax) break
      if (one.kind !== kind || one === newestState || gone.has(one)) continue
      gone.add(one)
      bytes -= onDisk(one)
    }
  }
  return waiting.filter((one) => gone.has(one))
}

/** A small file takes a whole block, so a limit in bytes that ignored it would be exceeded fifteen times. */
function onDisk(entry: Waiting): number {
  return Math.ceil(entry.bytes / BLOCK_BYTES) * BLOCK_BYTES
}

const BLOCK_BYTES = 4096
