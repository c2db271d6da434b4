import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { expect, it } from 'vitest'
import { collectOverSocket } from '../src/collect-over-socket.ts'
import { temporaryDirectory } from './prepared-tree.ts'

const FACTS = {
  hostname: 'web-1',
  facts: [{ collector: 'radios', args: {}, collected_at: 'now', value: 'ä'.repeat(100_000) }],
}
const TEXT = `${JSON.stringify(FACTS)}\n`

/** What collecting gives or says when somebody behind the socket does this. */
async function outcomeOf(
  answer: ((socket: Socket) => void) | null,
  signal: AbortSignal = new AbortController().signal,
): Promise<unknown> {
  await using directory = await temporaryDirectory()
  const file = path.join(directory.path, 'controls.sock')
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    answer?.(socket)
  })
  if (answer !== null) await new Promise<void>((resolve) => server.listen(file, resolve))
  try {
    return await collectOverSocket(file, signal).catch((error: Error) => error.message)
  } finally {
    server.close()
  }
}

it('takes what is printed until the end, in however many pieces it comes', async () => {
  expect(await outcomeOf((socket) => socket.end(TEXT))).toEqual(FACTS)
  const pieces = TEXT.match(/[\s\S]{1,65521}/g) ?? []
  const inPieces = (socket: Socket) => {
    for (const piece of pieces) socket.write(piece)
    socket.end()
  }
  expect(await outcomeOf(inPieces)).toEqual(FACTS)
})

it.each<[string, ((socket: Socket) => void) | null, RegExp]>([
  ['nobody listens', null, /ENOENT/],
  [
    'nothing comes, as from a unit that failed',
    (socket) => socket.end(),
    /gave nothing; the journal of its unit/,
  ],
  ['it breaks off', (socket) => socket.end(TEXT.slice(0, 50_000)), /broke off/],
  ['something else comes', (socket) => socket.end('[]\n'), /printed something else/],
  [
    'more comes than facts can be',
    (socket) => socket.end('x'.repeat(3 * 1024 * 1024)),
    /more than 2097152 bytes/,
  ],
])('has no facts when %s', async (_, answer, message) => {
  expect(await outcomeOf(answer)).toMatch(message)
})

it('is given up when the agent stops, before it began or while it waits', async () => {
  expect(await outcomeOf(() => undefined, AbortSignal.abort())).toMatch(/was ended/)
  const stop = new AbortController()
  expect(await outcomeOf(() => stop.abort(), stop.signal)).toMatch(/was ended/)
})
