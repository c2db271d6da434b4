import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type HttpHandler, problem } from '@crystal-forge/functions/http-api.ts'
import type { Log } from '@crystal-forge/functions/log.ts'
import type { FunctionName, Route } from '@crystal-forge/functions/routes.ts'
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from 'aws-lambda'
import { compileRoutes, type Match } from './route-match.ts'

export type GatewayOptions = {
  readonly routes: readonly Route[]
  /** Undefined while the server is still starting. */
  readonly handler: (name: FunctionName) => HttpHandler | undefined
  readonly log: Log
  /** Told after each answer of a function, so that what it wrote to the outbox leaves at once. */
  readonly afterAnswer: (name: FunctionName) => void
}

/**
 * Stands in for API Gateway: the same route table, the same payload 2.0 events, the same handlers. What it does not
 * show: throttling, the 30 s limit, percent-decoding of paths (our paths have none).
 */
export function createGateway(options: GatewayOptions): Server {
  const match = compileRoutes(options.routes)
  const closing = new WeakSet<Socket>()
  const server = createServer(
    {
      // Above the 16 KiB that the handlers allow, so that the refusal is theirs and says what is wrong.
      maxHeaderSize: 64 * 1024,
      requestTimeout: 60_000,
      headersTimeout: 20_000,
      keepAliveTimeout: 75_000,
    },
    (request, response) => {
      // What follows a refused body on its connection is not answered, so it must not happen either.
      if (closing.has(request.socket)) return
      answer(options, match, request)
        .catch((error: unknown) => failure(options.log, request, error))
        .then((result) => {
          if (result.close === true) closing.add(request.socket)
          send(request, response, result)
        })
        .catch((error: unknown) => options.log('warn', 'answer not sent', { error }))
    },
  )
  server.on('clientError', (error, socket) => {
    const overflow = 'code' in error && error.code === 'HPE_HEADER_OVERFLOW'
    const status = overflow ? '431 Request Header Fields Too Large' : '400 Bad Request'
    if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
  })
  return server
}

type Result = APIGatewayProxyStructuredResultV2 & { readonly close?: boolean }

async function answer(options: GatewayOptions, match: Match, request: IncomingMessage): Promise<Result> {
  const { path, query } = splitTarget(request.url ?? '/')
  if (!isPath(path)) return { ...asResult(BAD_TARGET), close: true }
  const found = match(request.method ?? 'GET', path)
  if (found === undefined) {
    const detail = `there is no ${request.method} ${path.slice(0, 200)}`
    return { ...asResult(problem(404, 'no_route', detail)), close: true }
  }
  const body = await readBody(request, found.route.bodyBytesMax)
  if (body === 'too large')
    return {
      ...asResult(problem(413, 'body_too_large', `at most ${found.route.bodyBytesMax} bytes are read here`)),
      close: true,
    }
  const handler = options.handler(found.route.function)
  if (handler === undefined) return asResult(problem(503, 'starting', 'try again in a second', RETRY_SOON))
  const event = toEvent(request, { ...found, path, query, body })
  const result = await handler(event, lambdaContext(event, found.route.function))
  options.afterAnswer(found.route.function)
  return result
}

function splitTarget(target: string): { path: string; query: string } {
  const mark = target.indexOf('?')
  return mark < 0
    ? { path: target, query: '' }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) }
}

/**
 * wire.md, "Paths": what is not one is refused before it is looked up. So are the other forms of a target: the absolute
 * one, which would name a host beside the Host header, and `*`.
 */
function isPath(path: string): boolean {
  return /^\/[A-Za-z0-9._~/-]*$/.test(path) && !/\/\/|\/\.{1,2}(\/|$)/.test(path)
}

/** Reads at most one chunk more than is allowed; a request whose body breaks off never reaches a handler. */
function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | 'too large'> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return Promise.resolve('too large')
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      chunks.push(chunk)
      if (bytes <= bytesMax) return
      request.off('data', onData).pause()
      resolve('too large')
    }
    request.on('data', onData)
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
    request.once('error', reject)
    request.once('close', () => {
      if (!request.complete) reject(new Error('the connection ended within the body'))
    })
  })
}

type Parsed = { route: Route; parameters: Record<string, string>; path: string; query: string; body: Buffer }

function toEvent(request: IncomingMessage, parsed: Parsed): APIGatewayProxyEventV2 {
  const time = new Date()
  const { headers, cookie } = joinHeaders(request.rawHeaders)
  return {
    version: '2.0',
    routeKey: parsed.route.key,
    rawPath: parsed.path,
    rawQueryString: parsed.query,
    ...(cookie === undefined ? {} : { cookies: cookie.split(/; */) }),
    headers,
    ...(parsed.query === '' ? {} : { queryStringParameters: joinQuery(parsed.query) }),
    pathParameters: parsed.parameters,
    requestContext: {
      accountId: 'anonymous',
      apiId: 'crystal-forge',
      domainName: headers['host'] ?? '',
      domainPrefix: '',
      http: {
        method: request.method ?? 'GET',
        path: parsed.path,
        protocol: `HTTP/${request.httpVersion}`,
        sourceIp: request.socket.remoteAddress ?? '',
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: randomUUID(),
      routeKey: parsed.route.key,
      stage: '$default',
      time: time.toISOString(),
      timeEpoch: time.getTime(),
    },
    body: parsed.body.toString('base64'),
    isBase64Encoded: true,
  }
}

/** Lower-case names; a header that came twice becomes one value joined by a comma, and cookies stand apart, as in API Gateway. */
function joinHeaders(raw: readonly string[]): { headers: Record<string, string>; cookie?: string } {
  // Without a prototype, so that a header of any name is only that.
  const headers: Record<string, string> = Object.create(null)
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] ?? '').toLowerCase()
    const value = raw[at + 1] ?? ''
    const before = headers[name]
    headers[name] = before === undefined ? value : `${before},${value}`
  }
  const cookie = headers['cookie']
  if (cookie === undefined) return { headers }
  delete headers['cookie']
  return { headers, cookie }
}

function joinQuery(query: string): Record<string, string> {
  const joined = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(query)) {
    const before = joined.get(name)
    joined.set(name, before === undefined ? value : `${before},${value}`)
  }
  return Object.fromEntries(joined)
}

/** The part of Lambda's context that a handler of ours may read. */
function lambdaContext(event: APIGatewayProxyEventV2, name: FunctionName): Context {
  const deadline = Date.now() + 30_000
  return {
    callbackWaitsForEmptyEventLoop: false,
    functionName: name,
    functionVersion: '$LATEST',
    invokedFunctionArn: name,
    memoryLimitInMB: '0',
    awsRequestId: event.requestContext.requestId,
    logGroupName: name,
    logStreamName: name,
    getRemainingTimeInMillis: () => deadline - Date.now(),
    done: () => {},
    fail: () => {},
    succeed: () => {},
  }
}

function failure(log: Log, request: IncomingMessage, error: unknown): Result {
  if (request.destroyed && !request.complete) return { statusCode: 400, close: true }
  log('error', 'request failed before its handler', { method: request.method, error })
  return { ...asResult(problem(500, 'internal', 'see the log of the server')), close: true }
}

function asResult(reply: ReturnType<typeof problem>): Result {
  return { statusCode: reply.status, headers: { ...reply.headers }, body: JSON.stringify(reply.body) }
}

function send(request: IncomingMessage, response: ServerResponse, result: Result): void {
  if (response.destroyed) return
  // Text stays text: Node then writes head and body with one system call.
  const text = result.body ?? ''
  const body = result.isBase64Encoded === true ? Buffer.from(text, 'base64') : text
  const headers = Object.entries(result.headers ?? {}).flatMap(([name, value]) => [name, String(value)])
  // What was not read of a refused body must not be taken for the next request.
  if (result.close === true) headers.push('connection', 'close')
  headers.push('content-length', String(Buffer.byteLength(body)))
  response.writeHead(result.statusCode ?? 200, headers)
  if (request.complete) {
    response.end(body)
    return
  }
  // The answer is whole with these bytes; what is left of it is to close the connection.
  response.write(body)
  discardRest(request, () => response.end())
}

/**
 * A connection that is closed with bytes unread is reset, and a client that still sends never sees the answer: so they
 * are read and forgotten first, until they end, until none come, and up to a limit.
 */
function discardRest(request: IncomingMessage, then: () => void): void {
  let bytes = 0
  const silence = setTimeout(then, LINGER_MS)
  request.on('data', (chunk: Buffer) => {
    silence.refresh()
    bytes += chunk.length
    if (bytes > DISCARD_BYTES_MAX) request.destroy()
  })
  request.resume()
  request.once('end', then)
  request.once('close', () => clearTimeout(silence))
  request.on('error', () => {})
}

const BAD_TARGET = problem(
  400,
  'bad_target',
  'the path may hold A-Z a-z 0-9 . _ ~ - and single slashes, and no dot segments',
)
/** A client that still sends after the answer is let go on this long. */
const DISCARD_BYTES_MAX = 8 * 1024 * 1024
const LINGER_MS = 500
const RETRY_SOON = { headers: { 'retry-after': '1' } }
