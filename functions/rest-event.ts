import type { APIGatewayProxyEvent, APIGatewayProxyEventV2 } from 'aws-lambda'

/** What reaches a function: the event of an HTTP API, or that of a private REST API, which knows only the older form. */
export type ArrivingEvent = APIGatewayProxyEventV2 | APIGatewayProxyEvent

/**
 * One form for the handlers: payload 2.0. A REST API decodes the query; it is encoded again here, so what a caller signs
 * over a query with unusual characters may differ. Our agents and builders send none.
 */
export function asPayload2(event: ArrivingEvent): APIGatewayProxyEventV2 {
  if ('routeKey' in event) return event
  const { httpMethod, path, resource, requestContext } = event
  const rawQueryString = queryOf(event)
  return {
    version: '2.0',
    routeKey: `${httpMethod} ${resource}`,
    // Without the name of the stage, which is no part of what a caller signs.
    rawPath: path,
    rawQueryString,
    headers: headersOf(event),
    ...(event.pathParameters === null ? {} : { pathParameters: event.pathParameters }),
    ...(event.body === null ? {} : { body: event.body }),
    isBase64Encoded: event.isBase64Encoded,
    requestContext: {
      accountId: requestContext.accountId,
      apiId: requestContext.apiId,
      domainName: requestContext.domainName ?? '',
      domainPrefix: requestContext.domainPrefix ?? '',
      http: {
        method: httpMethod,
        path,
        protocol: requestContext.protocol,
        sourceIp: requestContext.identity.sourceIp,
        userAgent: requestContext.identity.userAgent ?? '',
      },
      requestId: requestContext.requestId,
      routeKey: `${httpMethod} ${resource}`,
      stage: '$default',
      time: requestContext.requestTime ?? '',
      timeEpoch: requestContext.requestTimeEpoch,
    },
  }
}

/** A header that came several times is one value with commas, as in payload 2.0. */
function headersOf({ multiValueHeaders }: APIGatewayProxyEvent): Record<string, string> {
  return Object.fromEntries(
    Object.entries(multiValueHeaders).map(([name, values]) => [name.toLowerCase(), (values ?? []).join(',')]),
  )
}

function queryOf({ multiValueQueryStringParameters }: APIGatewayProxyEvent): string {
  return Object.entries(multiValueQueryStringParameters ?? {})
    .flatMap(([name, values]) =>
      (values ?? []).map((value) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`),
    )
    .join('&')
}
