import { LOOK_BYTES_MAX, LOOK_MS_MAX, parseCollected } from './control-facts.ts'
import type { CollectedFacts } from './controls/collect-facts.ts'

/**
 * Opens a socket behind which systemd starts `host-agent observe --controls --json` in a unit of its own, and takes what that prints until
 * its end. Nothing is sent: what is asked comes with that program.
 * @throws Error when nobody listens, or what comes is not whole; the journal of that unit says why.
 */
export async function collectOverSocket(path: string, signal: AbortSignal): Promise<CollectedFacts> {
  const { connect } = await import('node:net')
  const socket = connect({ path })
  const stop = AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS_MAX)])
  const giveUp = () => socket.destroy(new Error('the look at the controls was ended', { cause: stop.reason }))
  stop.addEventListener('abort', giveUp, { once: true })
  const chunks: Buffer[] = []
  let length = 0
  try {
    if (stop.aborted) giveUp()
    for await (const chunk of socket) {
      chunks.push(chunk)
      length += chunk.length
      if (length > LOOK_BYTES_MAX) throw new Error(`${path} gave more than ${LOOK_BYTES_MAX} bytes`)
    }
  } finally {
    stop.removeEventListener('abort', giveUp)
    socket.destroy()
  }
  if (length === 0) throw new Error(`${path} gave nothing; the journal of its unit says why`)
  return parseCollected(Buffer.concat(chunks).toString('utf8'))
}
