import { once } from 'node:events'
import http from 'node:http'
import { generateKeyPair, type RequestToSign, signRequest } from '@crystal-forge/protocol'
import { afterEach, expect, it } from 'vitest'
import { controlPlaneAt, type HttpReply } from './control-plane.ts'
import { isLoopback } from './endpoint.ts'

const { seed } = generateKeyPair()
const servers: http.Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

type Seen = { url: string | undefined; host: string | undefined; requests: number; signed: string }

/** Posts once to a server that answers with `respond`. */
async function post(
  respond: (response: http.ServerResponse) => void,
  options: { timeoutMs?: number } = {},
): Promise<{ reply: HttpReply; seen: Seen }> {
  const seen: Seen = { url: undefined, host: undefined, requests: 0, signed: '' }
  const server = http.createServer((request, response) => {
    Object.assign(seen, { url: request.url, host: request.headers.host, requests: seen.requests + 1 })
    request.resume().once('end', () => respond(response))
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const controlPlane = controlPlaneAt({
    endpoint: {
      protocol: 'http:',
      hostname: '127.0.0.1',
      port: typeof address === 'object' && address !== null ? address.port : 0,
      basePath: '/base',
      authority: 'cf.example.com',
    },
    ca: null,
    userAgent: 'test',
    now: () => new Date('2026-11-22T19:00:00Z'),
    ...options,
  })
  const sign = (request: RequestToSign) => {
    seen.signed = request.target
    return signRequest({ ...request, seed, nonce: 'n'.repeat(22) })
  }
  const reply = await controlPlane.post(
    '/v1/agent/reports',
    new Uint8Array(),
    sign,
    new AbortController().signal,
  )
  controlPlane.close()
  return { reply, seen }
}

function answer(status: number, headers: Record<string, string>, body: string) {
  return (response: http.ServerResponse) => {
    response.writeHead(status, headers)
    response.end(body)
  }
}

it('goes to the configured path under the public host, and signs what is left when the prefix is taken off', async () => {
  const { reply, seen } = await post(answer(202, {}, '{"a":1}'))
  expect(reply).toEqual({ kind: 'success', status: 202, body: { a: 1 } })
  expect(seen).toEqual({
    url: '/base/v1/agent/reports',
    host: 'cf.example.com',
    requests: 1,
    signed: '/v1/agent/reports',
  })
})

it('follows no redirect', async () => {
  const { reply, seen } = await post(answer(307, { location: '/elsewhere' }, ''))
  expect(reply).toMatchObject({ kind: 'refusal', status: 307, code: null })
  expect(seen.requests).toBe(1)
})

it.each([
  [
    'a problem',
    'application/problem+json',
    '{"type":"t","title":"t","status":409,"code":"replayed","detail":"d","server_time":"s"}',
    'replayed',
  ],
  [
    'a problem of another type',
    'application/json',
    '{"type":"t","title":"t","status":409,"code":"replayed"}',
    null,
  ],
  ['a page', 'text/html', '<h1>no</h1>', null],
  ['a problem without a code', 'application/problem+json', '{"type":"t","title":"t","status":409}', null],
])('reads the code of %s', async (_, type, body, code) => {
  expect((await post(answer(409, { 'content-type': type }, body))).reply).toMatchObject({
    kind: 'refusal',
    code,
  })
})

it.each([
  ['120', 120_000],
  ['Sun, 22 Nov 2026 19:01:00 GMT', 60_000],
  ['9999999', 86_400_000],
  ['soon', null],
])('reads Retry-After %s', async (value, retryAfterMs) => {
  expect((await post(answer(503, { 'retry-after': value }, ''))).reply).toMatchObject({ retryAfterMs })
})

it.each<[string, (response: http.ServerResponse) => void, RegExp]>([
  ['an answer without end', answer(200, {}, 'x'.repeat(300 * 1024)), /more than 262144 bytes/],
  ['a connection that breaks', (response) => response.destroy(), /hang up|ECONNRESET/],
])('counts %s as no answer', async (_, respond, because) => {
  expect((await post(respond)).reply).toEqual({
    kind: 'unreachable',
    because: expect.stringMatching(because),
  })
})

it('gives up on a server that says nothing', async () => {
  expect((await post(() => {}, { timeoutMs: 20 })).reply.kind).toBe('unreachable')
})

it.each([
  ['localhost', true],
  ['127.8.9.10', true],
  ['::1', true],
  ['cf.localhost', true],
  ['127.0.0.1.example.com', false],
  ['10.0.0.1', false],
  ['localhost.example.com', false],
])('loopback %s: %s', (hostname, expected) => {
  expect(isLoopback(hostname)).toBe(expected)
})
