import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { generateKeyPair, keyId, verifyRequest } from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { quietLog } from '../test/quiet-log.ts'
import { type ControlPlane, controlPlane } from './control-plane.ts'
import { persistently } from './persistently.ts'

const { seed, publicKey } = generateKeyPair()
const answerShape = z.object({ effect: z.number() })
type Act = (request: IncomingMessage, response: ServerResponse) => void

let server: Server
let plane: ControlPlane
/** What happens to the next requests, in order; afterwards every one is answered. */
let acts: Act[] = []
/** Codes of the verifier for what arrived, and the nonces. */
let verdicts: string[] = []
let nonces: string[] = []
let effect = 0

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    await verify(request, Buffer.concat(chunks))
    const act = acts.shift() ?? answers
    act(request, response)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  plane = controlPlane({ serverUrl: `http://127.0.0.1:${port}`, authority: 'api.cf.example.com', seed })
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(() => {
  acts = []
  verdicts = []
  nonces = []
  effect = 0
})

async function verify(request: IncomingMessage, body: Buffer): Promise<void> {
  const fields: [string, string][] = []
  for (let at = 0; at < request.rawHeaders.length; at += 2)
    fields.push([(request.rawHeaders[at] ?? '').toLowerCase(), request.rawHeaders[at + 1] ?? ''])
  const verified = await verifyRequest(
    {
      method: request.method ?? '',
      authority: 'api.cf.example.com',
      target: request.url ?? '',
      fields,
      body,
    },
    {
      tag: 'crystal-forge-builder-v1',
      authority: 'api.cf.example.com',
      now: new Date(),
      lookupKey: async (id) =>
        id === keyId(publicKey) ? { status: 'active', publicKey, principal: 'b1' } : null,
    },
  )
  verdicts.push(verified.ok ? 'verified' : verified.code)
  if (verified.ok) nonces.push(verified.nonce)
}

const answers: Act = (_, response) => {
  effect += 1
  response.setHeader('content-type', 'application/json').end(JSON.stringify({ effect }))
}
const status =
  (code: number, body: object, headers: Record<string, string> = {}): Act =>
  (_, response) => {
    response
      .writeHead(code, { 'content-type': 'application/problem+json', ...headers })
      .end(JSON.stringify(body))
  }
/** The connection breaks before anything happened, or after it with the answer lost. */
const breaksBefore: Act = (request) => request.socket.destroy()
const breaksAfter: Act = (request) => {
  effect += 1
  request.socket.destroy()
}

const call = () => plane.call('/v1/builder/claims', { v: 1, kinds: ['build'] }, answerShape)

test('every request is signed for the configured host, with a nonce of its own', async () => {
  expect(await call()).toEqual({ kind: 'ok', body: { effect: 1 } })
  expect(await call()).toEqual({ kind: 'ok', body: { effect: 2 } })
  expect(verdicts).toEqual(['verified', 'verified'])
  expect(new Set(nonces).size).toBe(2)
})

describe('one call ends as', () => {
  test.each<[string, Act, object]>([
    ['unanswered when the connection breaks before the effect', breaksBefore, { kind: 'unanswered' }],
    ['unanswered when the answer is lost', breaksAfter, { kind: 'unanswered' }],
    [
      'unanswered for 500',
      status(500, {}),
      { kind: 'unanswered', why: 'status 500', retryAfterMs: undefined },
    ],
    [
      'unanswered for 503, with the time to wait',
      status(503, {}, { 'retry-after': '2' }),
      { kind: 'unanswered', retryAfterMs: 2000 },
    ],
    ['unanswered for 429', status(429, {}, { 'retry-after': '0' }), { kind: 'unanswered', retryAfterMs: 0 }],
    [
      'refused with the code of the problem',
      status(409, { type: 'about:blank', title: 'x', status: 409, code: 'stale_fence', detail: 'not yours' }),
      { kind: 'refused', status: 409, code: 'stale_fence' },
    ],
    ['refused without a problem', status(404, {}), { kind: 'refused', status: 404, code: 'status_404' }],
    [
      'refused when the answer has another shape',
      status(200, { other: 1 }),
      { code: 'answer_not_understood' },
    ],
    [
      'unanswered for a redirect, which is never followed',
      status(302, {}, { location: 'http://127.0.0.1:1/' }),
      { kind: 'unanswered' },
    ],
  ])('%s', async (_, act, expected) => {
    acts = [act]
    expect(await call()).toMatchObject(expected)
  })
})

test('an answer without end is given up', async () => {
  acts = [
    (_, response) => {
      const more = (): void => {
        while (response.write(Buffer.alloc(1024 * 1024))) if (response.destroyed) return
      }
      response.on('drain', more).on('error', () => {})
      more()
    },
  ]
  expect(await call()).toMatchObject({
    kind: 'unanswered',
    why: expect.stringMatching(/more than \d+ bytes/),
  })
})

test('whoever is tired of waiting stops the call', async () => {
  acts = [() => {}]
  const stop = new AbortController()
  const waiting = plane.call('/v1/builder/claims', {}, answerShape, stop.signal)
  stop.abort()
  expect(await waiting).toMatchObject({ kind: 'unanswered' })
})

test('a call that is repeated until it is answered is signed anew each time', async () => {
  acts = [breaksBefore, breaksAfter, status(503, {}, { 'retry-after': '0' })]
  const log = quietLog()
  const answer = await persistently('claims', call, { signal: AbortSignal.timeout(20_000), log })
  expect(answer).toEqual({ kind: 'ok', body: { effect: 2 } })
  expect(new Set(nonces).size).toBe(4)
  expect(log.said.map(({ level }) => level)).toEqual(['warn', 'warn', 'warn'])
})

test('a refusal is not repeated', async () => {
  acts = [status(409, { code: 'stale_fence' }), breaksBefore]
  await persistently('result', call, { signal: AbortSignal.timeout(20_000), log: quietLog() })
  expect(verdicts).toHaveLength(1)
})
