import http from 'node:http'
import https from 'node:https'
import {
  parseRetryAfterMs,
  type RequestToSign,
  readProblem,
  type SignatureHeaders,
} from '@crystal-forge/protocol'
import type { Endpoint } from './endpoint.ts'
import { reason } from './json-log.ts'

/** What came back: a success with its body, a refusal, or no answer at all. Redirects are refusals; none is followed. */
export type HttpReply =
  | { readonly kind: 'success'; readonly status: number; readonly body: unknown }
  | {
      readonly kind: 'refusal'
      readonly status: number
      readonly code: string | null
      readonly detail: string | null
      readonly serverTime: string | null
      readonly retryAfterMs: number | null
    }
  | { readonly kind: 'unreachable'; readonly because: string }

/**
 * The control plane as the agent reaches it. `post` sends once, never retries and never rejects: a request without an answer may have
 * taken effect. `sign` is called for this one request.
 */
export type ControlPlane = {
  post(
    target: string,
    body: Uint8Array,
    sign: (request: RequestToSign) => SignatureHeaders,
    signal: AbortSignal,
  ): Promise<HttpReply>
  close(): void
}

/** @param ca PEM certificates that are trusted instead of those of Node, or null. */
export function controlPlaneAt(options: {
  readonly endpoint: Endpoint
  readonly ca: string | null
  readonly userAgent: string
  readonly now: () => Date
  readonly timeoutMs?: number
}): ControlPlane {
  const { endpoint, now, timeoutMs = 30_000 } = options
  const secure = endpoint.protocol === 'https:'
  // A spool drains over one connection; an idle one is closed before the control plane does it.
  const connections = { keepAlive: true, maxSockets: 1, timeout: 2_000 }
  const agent = secure
    ? new https.Agent({ ...connections, ...(options.ca === null ? {} : { ca: options.ca }) })
    : new http.Agent(connections)
  return {
    async post(target, body, sign, signal) {
      try {
        const signature = sign({
          method: 'POST',
          authority: endpoint.authority,
          target,
          body,
          tag: 'crystal-forge-agent-v1',
          now: now(),
        })
        const headers = { ...signature, host: endpoint.authority, 'user-agent': options.userAgent }
        const request = (secure ? https : http).request({
          agent,
          hostname: endpoint.hostname,
          port: endpoint.port,
          ...(secure ? { servername: serverName(endpoint) } : {}),
          method: 'POST',
          // A prefix is taken off by the proxy or stage that it names; the control plane sees, and verifies, what follows it.
          path: `${endpoint.basePath}${target}`,
          headers: { ...headers, 'content-length': body.length },
          signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
        })
        return await readReply(await answerTo(request, body), now)
      } catch (error) {
        return { kind: 'unreachable', because: reason(error) }
      }
    },
    close: () => agent.destroy(),
  }
}

/** An address is no server name (RFC 6066 section 3). */
function serverName(endpoint: Endpoint): string {
  return /[A-Za-z]/.test(endpoint.hostname) && !endpoint.hostname.includes(':') ? endpoint.hostname : ''
}

function answerTo(request: http.ClientRequest, body: Uint8Array): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve)
    request.once('error', reject)
    request.end(body)
  })
}

async function readReply(message: http.IncomingMessage, now: () => Date): Promise<HttpReply> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of message) {
    const bytes = Buffer.from(chunk)
    length += bytes.length
    if (length > ANSWER_BYTES_MAX) {
      message.destroy()
      return { kind: 'unreachable', because: `an answer of more than ${ANSWER_BYTES_MAX} bytes` }
    }
    chunks.push(bytes)
  }
  const status = message.statusCode ?? 0
  const body = parseJson(Buffer.concat(chunks).toString('utf8'))
  if (status >= 200 && status < 300) return { kind: 'success', status, body }
  const isProblem = message.headers['content-type']?.startsWith('application/problem+json') ?? false
  const problem = readProblem(isProblem ? body : null)
  const retryAfter = message.headers['retry-after']
  return {
    kind: 'refusal',
    status,
    code: problem?.code ?? null,
    detail: problem?.detail?.slice(0, DETAIL_CHARACTERS_MAX) ?? null,
    serverTime: problem?.server_time ?? null,
    retryAfterMs: retryAfter === undefined ? null : boundedRetryAfter(retryAfter, now()),
  }
}

/** Whoever answers must not be able to silence a host for longer than a day. */
function boundedRetryAfter(value: string, now: Date): number | null {
  const ms = parseRetryAfterMs(value, now)
  return ms === null ? null : Math.min(ms, 86_400_000)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** An order is below 8 KiB; anything larger is no answer of the control plane. */
const ANSWER_BYTES_MAX = 256 * 1024
/** Ends in a log line. */
const DETAIL_CHARACTERS_MAX = 500
