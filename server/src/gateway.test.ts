import { createHash } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import type { Route } from '@crystal-forge/functions/routes.ts'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createGateway } from './gateway.ts'

const LIMIT = 64 * 1024
const ROUTES: Route[] = [
  { key: 'GET /status', function: 'status', caller: 'anyone', bodyBytesMax: 0 },
  { key: 'POST /v1/hooks/{hook}', function: 'webhooks', caller: 'forge', bodyBytesMax: LIMIT },
  { key: 'POST /v1/hooks/special', function: 'webhooks', caller: 'forge', bodyBytesMax: LIMIT },
  { key: 'GET /v1/systems/{system}', function: 'operator-api', caller: 'operator', bodyBytesMax: 0 },
]

let gateway: ReturnType<typeof createGateway>
let port: number
let events: APIGatewayProxyEventV2[]
let answered: string[]
let handler: HttpHandler | undefined

beforeEach(async () => {
  events = []
  answered = []
  handler = async (event) => {
    events.push(event)
    return { statusCode: 200, headers: { 'content-type': 'text/plain' }, body: `answer ${events.length}` }
  }
  gateway = createGateway({
    routes: ROUTES,
    handler: () => handler,
    log: () => {},
    afterAnswer: (name) => answered.push(name),
  })
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', () => resolve()))
  const address: AddressInfo | string | null = gateway.address()
  port = address !== null && typeof address === 'object' ? address.port : 0
})
afterEach(async () => {
  const closed = new Promise((resolve) => gateway.close(resolve))
  gateway.closeAllConnections()
  await closed
})

test('a handler gets what API Gateway would give it', async () => {
  const body = Buffer.from([0, 255, 10, 13])
  const request = Buffer.concat([
    Buffer.from(
      [
        'POST /v1/hooks/hook_1?b=2&a=1&b=3&c=%20x HTTP/1.1',
        'Host: api.example.com',
        'X-Twice: one',
        'x-twice: two',
        'User-Agent: forge',
        'Cookie: a=1; b=2',
        `Content-Length: ${body.length}`,
        'Connection: close',
        '\r\n',
      ].join('\r\n'),
    ),
    body,
  ])
  expect(statusesOf(await raw(request))).toEqual([200])
  expect(events).toHaveLength(1)
  expect(events[0]).toMatchObject({
    version: '2.0',
    routeKey: 'POST /v1/hooks/{hook}',
    rawPath: '/v1/hooks/hook_1',
    rawQueryString: 'b=2&a=1&b=3&c=%20x',
    queryStringParameters: { b: '2,3', a: '1', c: ' x' },
    pathParameters: { hook: 'hook_1' },
    cookies: ['a=1', 'b=2'],
    body: body.toString('base64'),
    isBase64Encoded: true,
    requestContext: {
      stage: '$default',
      domainName: 'api.example.com',
      routeKey: 'POST /v1/hooks/{hook}',
      http: {
        method: 'POST',
        path: '/v1/hooks/hook_1',
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: 'forge',
      },
    },
  })
  expect(events[0]?.headers['x-twice']).toBe('one,two')
  expect(events[0]?.headers).not.toHaveProperty('cookie')
  expect(answered).toEqual(['webhooks'])
})

test('a literal segment goes before a parameter', async () => {
  await post('/v1/hooks/special', '')
  expect(events[0]?.routeKey).toBe('POST /v1/hooks/special')
})

const REFUSED_TARGETS = [
  '/v1/systems/a%2Fb',
  '/v1/systems/%2e%2e',
  '/v1//systems/a',
  '/v1/systems/../status',
  '/v1/systems/.',
  '/v1/systems/a b',
  '/v1/systems/a;b',
  '/v1/systems/ä',
  '/status%00',
  'http://api.example.com/status',
  '*',
  'status',
]

test.each(REFUSED_TARGETS)('the target %j reaches no route', async (target) => {
  const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
  expect(statusesOf(answer)).toEqual([400])
  expect(events).toEqual([])
})

const UNKNOWN: [string, string][] = [
  ['HEAD', '/status'],
  ['POST', '/status'],
  ['OPTIONS', '/status'],
  ['GET', '/v1/systems'],
  ['GET', '/v1/systems/a/'],
  ['GET', '/v1/systems/a/b'],
  ['GET', '/'],
]

test.each(UNKNOWN)('%s %s is no route', async (method, path) => {
  const answer = await raw(
    `${method} ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
  )
  expect(statusesOf(answer)).toEqual([404])
  expect(answer.includes('no_route')).toBe(method !== 'HEAD')
  expect(events).toEqual([])
})

test('a body of the limit is read whole, one byte more is refused', async () => {
  const body = 'x'.repeat(LIMIT)
  expect((await post('/v1/hooks/h', body)).status).toBe(200)
  expect(Buffer.from(events[0]?.body ?? '', 'base64')).toHaveLength(LIMIT)
  const refused = await post('/v1/hooks/h', `${body}x`)
  expect(refused.status).toBe(413)
  expect(await refused.json()).toMatchObject({ code: 'body_too_large', status: 413 })
  expect(events).toHaveLength(1)
})

test('a body that announces too much is refused before it comes', async () => {
  const answer = await raw(`POST /v1/hooks/h HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n`)
  expect(statusesOf(answer)).toEqual([413])
  expect(answer.toLowerCase()).toContain('connection: close')
  expect(events).toEqual([])
})

test('a body in chunks without a length is stopped at the limit, and what follows it is no request', async () => {
  const chunk = `${LIMIT.toString(16)}\r\n${'x'.repeat(LIMIT)}\r\n`
  const smuggled = 'GET /status HTTP/1.1\r\nHost: h\r\n\r\n'
  const head = 'POST /v1/hooks/h HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n'
  const answer = await raw(`${head}${chunk}${chunk}0\r\n\r\n${smuggled}`)
  expect(statusesOf(answer)).toEqual([413])
  expect(events).toEqual([])
})

test('a client that sends megabytes after all still reads its refusal', async () => {
  const refused = await post('/v1/hooks/h', 'x'.repeat(4 * 1024 * 1024))
  expect(refused.status).toBe(413)
})

test('a body that breaks off reaches no handler', async () => {
  const socket = connect(port, '127.0.0.1')
  socket.write('POST /v1/hooks/h HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf')
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.destroy()
  expect((await post('/v1/hooks/after', 'whole')).status).toBe(200)
  expect(events.map((event) => event.rawPath)).toEqual(['/v1/hooks/after'])
})

test('pipelined requests are answered in their order', async () => {
  handler = async (event) => {
    events.push(event)
    // The first takes longest.
    await new Promise((resolve) => setTimeout(resolve, event.rawPath.endsWith('1') ? 50 : 0))
    return { statusCode: 200, body: event.rawPath }
  }
  const one = (path: string, more = ''): string =>
    `POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n${more}\r\n${path.slice(-1)}!`
  const answer = await raw(
    one('/v1/hooks/1') + one('/v1/hooks/2') + one('/v1/hooks/3', 'Connection: close\r\n'),
  )
  expect(statusesOf(answer)).toEqual([200, 200, 200])
  expect(answer.match(/\/v1\/hooks\/\d/g)).toEqual(['/v1/hooks/1', '/v1/hooks/2', '/v1/hooks/3'])
  const bodies = Object.fromEntries(
    events.map((event) => [event.rawPath, Buffer.from(event.body ?? '', 'base64').toString()]),
  )
  expect(bodies).toEqual({ '/v1/hooks/1': '1!', '/v1/hooks/2': '2!', '/v1/hooks/3': '3!' })
})

test('both a length and chunks, two lengths, and no HTTP at all are refused without a handler', async () => {
  const both =
    'POST /v1/hooks/h HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
  const two = 'POST /v1/hooks/h HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde'
  for (const text of [both, two, 'hello\r\n\r\n']) expect(statusesOf(await raw(text))).toEqual([400])
  expect(events).toEqual([])
})

test('a handler that throws is a 500 that says nothing of why', async () => {
  handler = () => Promise.reject(new Error('a secret'))
  const answer = await post('/v1/hooks/h', '')
  expect(answer.status).toBe(500)
  expect(await answer.text()).not.toContain('secret')
})

test('while there is no handler yet, callers are asked to come back', async () => {
  handler = undefined
  const answer = await post('/v1/hooks/h', '')
  expect(answer.status).toBe(503)
  expect(answer.headers.get('retry-after')).toBe('1')
})

test('a binary answer arrives as its bytes', async () => {
  const bytes = createHash('sha256').update('x').digest()
  handler = async () => ({ statusCode: 200, body: bytes.toString('base64'), isBase64Encoded: true })
  const answer = await post('/v1/hooks/h', '')
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes)
})

function post(path: string, body: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body })
}

/** Sends bytes and gives back everything until the server closes. */
function raw(bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    socket.once('error', reject)
    socket.once('close', () => resolve(text))
    socket.write(bytes)
  })
}

function statusesOf(answer: string): number[] {
  return [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
}
