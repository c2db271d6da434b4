import { PROBLEM_MEDIA_TYPE, type Problem, problemType } from '@crystal-forge/protocol'
import middy from '@middy/core'
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from 'aws-lambda'
import * as z from 'zod'
import type { Log } from './log.ts'
import { type ArrivingEvent, asPayload2 } from './rest-event.ts'
import { ROUTES } from './routes.ts'

export type HttpHandler = (
  event: APIGatewayProxyEventV2,
  context: Context,
) => Promise<APIGatewayProxyStructuredResultV2>

/** A request as the handlers see it: payload 2.0 with its quirks undone. */
export type HttpRequest = {
  /** `POST /v1/agent/reports`: the key of the route table. */
  readonly route: string
  readonly method: string
  /** As it was sent: no decoding, no stage prefix. */
  readonly path: string
  /** Without the question mark. */
  readonly rawQuery: string
  readonly parameters: Readonly<Record<string, string>>
  /** Lower-case names. A header that came twice is one value joined by ", " or ",", as API Gateway does. */
  readonly headers: readonly (readonly [string, string])[]
  /** The bytes of the body, base64 undone. */
  readonly body: Buffer
  readonly requestId: string
  readonly sourceIp: string
  /** Of a JWT that API Gateway has verified; absent where it verified none. Nothing that a caller sends gets here otherwise. */
  readonly claims?: Readonly<Record<string, string>>
}

export type Reply = {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** One per route. Returns every outcome, refusals included; what it throws is a fault of ours and becomes a 500. */
export type Endpoint = (request: HttpRequest) => Promise<Reply>

/**
 * The Lambda handler of a function with several routes: limits first, then the endpoint, then the answer as
 * payload 2.0. Middleware is applied here and nowhere else, and what it returns is what is exported.
 */
export function httpApi(endpoints: Readonly<Record<string, Endpoint>>, log: Log): HttpHandler {
  const answer = async (event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> => {
    const request = readEvent(event)
    const endpoint = endpoints[request.route]
    const refusal = refuseByLimits(request)
    if (refusal !== undefined) return render(refusal)
    if (endpoint === undefined) return render(problem(404, 'no_route', `no route ${request.route}`))
    return render(await endpoint(request))
  }
  // An answer just before the time is over would leave the transaction in a frozen instance, to be committed by whatever
  // event comes next. Killed in the middle it is undone.
  const handler = middy<APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2>({
    timeoutEarlyInMillis: 0,
  })
    .onError((request) => {
      const requestId = request.event.requestContext.requestId
      log('error', 'request failed', { route: request.event.routeKey, requestId, error: request.error })
      request.response = render(problem(500, 'internal', `quote the request id ${requestId} to the operator`))
    })
    .handler(answer)
  return (event: ArrivingEvent, context) => handler(asPayload2(event), context)
}

/** A refusal in the form of RFC 9457. `detail` names the field, the value and what to do about it, at no more length than anybody reads. */
export function problem(
  status: number,
  code: string,
  detail?: string,
  more: Partial<Problem> & { headers?: Readonly<Record<string, string>> } = {},
): Reply {
  const { headers, errors, ...members } = more
  const body: Problem = {
    type: problemType(code),
    title: code.replaceAll('_', ' '),
    status,
    code,
    ...(detail === undefined ? {} : { detail: readable(detail) }),
    ...(errors === undefined
      ? {}
      : {
          errors: errors.map(({ path, message }) => ({ path: readable(path), message: readable(message) })),
        }),
    ...members,
  }
  return { status, body, headers: { 'content-type': PROBLEM_MEDIA_TYPE, ...headers } }
}

/** What was sent stands in many a refusal, and may be a megabyte: an answer, a log and an event hold its beginning. */
function readable(text: string): string {
  if (text.length <= WORDS_CHARACTERS_MAX) return text
  return `${text.slice(0, WORDS_CHARACTERS_MAX).toWellFormed()} …`
}

/** Twenty faults of a declaration fit. */
const WORDS_CHARACTERS_MAX = 4_000

function readEvent(event: APIGatewayProxyEventV2): HttpRequest {
  const { http, requestId, stage } = event.requestContext
  const prefix = stage === '$default' ? '' : `/${stage}`
  const path =
    prefix !== '' && event.rawPath.startsWith(`${prefix}/`)
      ? event.rawPath.slice(prefix.length)
      : event.rawPath
  return {
    route: event.routeKey,
    method: http.method,
    path,
    rawQuery: event.rawQueryString,
    parameters: Object.fromEntries(presentEntries(event.pathParameters ?? {})),
    headers: presentEntries(event.headers).map(([name, value]) => [name.toLowerCase(), value] as const),
    body: Buffer.from(event.body ?? '', event.isBase64Encoded ? 'base64' : 'utf8'),
    requestId,
    sourceIp: http.sourceIp,
    ...verifiedClaims(event),
  }
}

function presentEntries(record: Readonly<Record<string, string | undefined>>): [string, string][] {
  return Object.entries(record).filter((entry): entry is [string, string] => entry[1] !== undefined)
}

function verifiedClaims(event: APIGatewayProxyEventV2): Pick<HttpRequest, 'claims'> {
  if (!('authorizer' in event.requestContext)) return {}
  const verified = jwtContext.safeParse(event.requestContext)
  if (!verified.success) return {}
  return { claims: verified.data.authorizer.jwt.claims }
}

/** Where an authorizer of API Gateway puts what it verified; claims are text there, whatever they were in the JWT. */
const jwtContext = z.object({
  authorizer: z.object({ jwt: z.object({ claims: z.record(z.string(), z.string()) }) }),
})

const BODY_BYTES_MAX: ReadonlyMap<string, number> = new Map(
  ROUTES.map((route) => [route.key, route.bodyBytesMax]),
)

/** What no route accepts, decided before any other work (wire.md, "Limits"). */
function refuseByLimits(request: HttpRequest): Reply | undefined {
  if (!/^\/[A-Za-z0-9._~/-]*$/.test(request.path) || /\/\/|\/\.{1,2}(\/|$)/.test(request.path))
    return problem(
      400,
      'bad_target',
      'the path may hold A-Z a-z 0-9 . _ ~ - and single slashes, and no dot segments',
    )
  const headerBytes = request.headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)
  if (headerBytes > 16 * 1024)
    return problem(431, 'headers_too_large', 'all headers together may have 16 KiB')
  const most = BODY_BYTES_MAX.get(request.route) ?? 0
  if (request.body.length > most)
    return problem(
      413,
      'body_too_large',
      `the body has ${request.body.length} bytes; at most ${most} are read here`,
    )
  const encoding = request.headers.find(([name]) => name === 'content-encoding')?.[1]
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    return problem(
      415,
      'encoding_not_allowed',
      `content-encoding is ${JSON.stringify(encoding)}; send the body as it is`,
    )
  return undefined
}

function render(reply: Reply): APIGatewayProxyStructuredResultV2 {
  const hasBody = reply.body !== undefined
  return {
    statusCode: reply.status,
    headers: {
      ...(hasBody ? { 'content-type': 'application/json' } : {}),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...reply.headers,
    },
    body: hasBody ? JSON.stringify(reply.body) : '',
    isBase64Encoded: false,
  }
}
