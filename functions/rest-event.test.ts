import type { APIGatewayProxyEventV2, Context } from 'aws-lambda'
import { expect, test } from 'vitest'
import { type HttpRequest, httpApi } from './http-api.ts'
import { asPayload2 } from './rest-event.ts'

// As it arrives: the handlers' type only knows payload 2.0.
const rest: APIGatewayProxyEventV2 = JSON.parse(
  JSON.stringify({
    resource: '/v1/hooks/{hook}',
    path: '/v1/hooks/hk_1',
    httpMethod: 'POST',
    headers: { 'X-Twice': 'b' },
    multiValueHeaders: { 'X-Twice': ['a', 'b'], Signature: ['cf=:x:'] },
    queryStringParameters: { q: 'b c' },
    multiValueQueryStringParameters: { q: ['a', 'b c'] },
    pathParameters: { hook: 'hk_1' },
    stageVariables: null,
    body: Buffer.from('{"ä":1}').toString('base64'),
    isBase64Encoded: true,
    requestContext: {
      accountId: '1',
      apiId: 'a',
      stage: 'cf',
      path: '/cf/v1/hooks/hk_1',
      protocol: 'HTTP/1.1',
      requestId: 'r-1',
      requestTimeEpoch: 1,
      identity: { sourceIp: '10.0.0.9', userAgent: null },
    },
  }),
)

test('a request through a private REST API reaches its endpoint as the same request through an HTTP API', async () => {
  const seen: HttpRequest[] = []
  const handler = httpApi(
    {
      'POST /v1/hooks/{hook}': async (request) => {
        seen.push(request)
        return { status: 202 }
      },
    },
    () => {},
  )
  const context: Context = JSON.parse('{}')
  expect((await handler(rest, context)).statusCode).toBe(202)
  expect(seen[0]).toMatchObject({
    route: 'POST /v1/hooks/{hook}',
    method: 'POST',
    path: '/v1/hooks/hk_1',
    rawQuery: 'q=a&q=b%20c',
    parameters: { hook: 'hk_1' },
    sourceIp: '10.0.0.9',
    requestId: 'r-1',
  })
  expect(seen[0]?.headers).toEqual([
    ['x-twice', 'a,b'],
    ['signature', 'cf=:x:'],
  ])
  expect(seen[0]?.body.toString()).toBe('{"ä":1}')
})

test('an event of an HTTP API is left as it is', () => {
  const event: APIGatewayProxyEventV2 = JSON.parse('{"version": "2.0", "routeKey": "GET /status"}')
  expect(asPayload2(event)).toBe(event)
})
