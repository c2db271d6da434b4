import { CfnOutput } from 'aws-cdk-lib'
import {
  type CfnApi,
  CfnApiMapping,
  CfnAuthorizer,
  CfnDomainName,
  CfnIntegration,
  CfnRoute,
  CfnStage,
} from 'aws-cdk-lib/aws-apigatewayv2'
import { CfnPermission } from 'aws-cdk-lib/aws-lambda'
import type { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import { type FunctionName, ROUTES, type Route } from '../functions/routes.ts'
import { acknowledge } from './acknowledge.ts'
import { arn, logGroupArn } from './grants.ts'
import type { LambdaFunction } from './lambda-function.ts'
import type { Parameters } from './parameters.ts'
import { THROTTLE } from './throttle.ts'

export type HttpFunctions = Readonly<Record<FunctionName, LambdaFunction>>
type Parts = {
  readonly parameters: Parameters
  readonly api: CfnApi
  readonly functions: HttpFunctions
  readonly accessLog: LogGroup
}

/** The table as an HTTP API: payload 2.0, no stage in the path. */
export function httpApi(scope: Construct, { parameters, api, functions, accessLog }: Parts): void {
  const authorizer = parameters.oidc === undefined ? undefined : jwtAuthorizer(scope, api, parameters.oidc)
  const integrations = new Map<FunctionName, CfnIntegration>()
  const routes = ROUTES.map((route) => {
    const integration =
      integrations.get(route.function) ?? integrate(scope, api, { name: route.function, functions })
    integrations.set(route.function, integration)
    return addRoute(scope, { api, route, integration, authorizer })
  })
  const stage = new CfnStage(scope, 'Stage', {
    apiId: api.ref,
    stageName: '$default',
    autoDeploy: true,
    accessLogSettings: { destinationArn: logGroupArn(scope, accessLog), format: JSON.stringify(ACCESS_LOG) },
    defaultRouteSettings: {
      throttlingRateLimit: THROTTLE.anyone.rate,
      throttlingBurstLimit: THROTTLE.anyone.burst,
    },
    routeSettings: Object.fromEntries(
      ROUTES.map(({ key, caller }) => [
        key,
        { ThrottlingRateLimit: THROTTLE[caller].rate, ThrottlingBurstLimit: THROTTLE[caller].burst },
      ]),
    ),
  })
  // Settings of a route that does not exist yet are refused.
  for (const route of routes) stage.addResourceDependency(route)
  domain(scope, { parameters, api, stage })
}

function integrate(
  scope: Construct,
  api: CfnApi,
  { name, functions }: { name: FunctionName; functions: HttpFunctions },
): CfnIntegration {
  const { fn } = functions[name]
  new CfnPermission(scope, `${name}-permission`, {
    action: 'lambda:InvokeFunction',
    functionName: fn.functionArn,
    principal: 'apigateway.amazonaws.com',
    // Any stage, method and path of this one API: a statement for each route would not fit into the policy of a function.
    sourceArn: arn(scope, 'execute-api', `${api.ref}/*`),
  })
  return new CfnIntegration(scope, `${name}-integration`, {
    apiId: api.ref,
    integrationType: 'AWS_PROXY',
    integrationUri: fn.functionArn,
    payloadFormatVersion: '2.0',
  })
}

function addRoute(
  scope: Construct,
  {
    api,
    route,
    integration,
    authorizer,
  }: { api: CfnApi; route: Route; integration: CfnIntegration; authorizer: CfnAuthorizer | undefined },
): CfnRoute {
  const byJwt = authorizer !== undefined && route.caller === 'operator'
  const made = new CfnRoute(scope, route.key, {
    apiId: api.ref,
    routeKey: route.key,
    target: `integrations/${integration.ref}`,
    authorizationType: byJwt ? 'JWT' : 'NONE',
    ...(byJwt ? { authorizerId: authorizer.ref } : {}),
  })
  if (!byJwt) acknowledge(made, { 'AwsSolutions-APIG4': WHO_CHECKS[route.caller] })
  return made
}

function jwtAuthorizer(
  scope: Construct,
  api: CfnApi,
  { issuer, audience }: { issuer: string; audience: string },
): CfnAuthorizer {
  return new CfnAuthorizer(scope, 'Operators', {
    apiId: api.ref,
    name: 'operators',
    authorizerType: 'JWT',
    identitySource: ['$request.header.Authorization'],
    jwtConfiguration: { issuer, audience: [audience] },
  })
}

function domain(
  scope: Construct,
  { parameters, api, stage }: { parameters: Parameters; api: CfnApi; stage: CfnStage },
): void {
  const { publicHost, certificateArn } = parameters
  if (publicHost === undefined || certificateArn === undefined) return
  const name = new CfnDomainName(scope, 'Domain', {
    domainName: publicHost,
    domainNameConfigurations: [{ certificateArn, endpointType: 'REGIONAL', securityPolicy: 'TLS_1_2' }],
    tags: { ...parameters.tags, application: parameters.name },
  })
  const mapping = new CfnApiMapping(scope, 'DomainMapping', {
    apiId: api.ref,
    domainName: name.ref,
    stage: stage.ref,
  })
  mapping.addResourceDependency(stage)
  new CfnOutput(scope, 'DomainTarget', {
    value: name.attrRegionalDomainName,
    description: `Point ${publicHost} here (CNAME, or ALIAS in Route 53)`,
  })
}

const WHO_CHECKS = {
  agent:
    'the function verifies the signature of the host over the request (RFC 9421), which no authorizer of API Gateway can',
  builder:
    'the function verifies the signature of the builder over the request (RFC 9421), which no authorizer of API Gateway can',
  operator: 'the function looks up the token and its role; with oidcIssuer an authorizer checks a JWT before',
  forge: 'the function verifies the signature of the forge over the raw body, with the secret of the hook',
  anyone: 'says whether the database answers, and nothing else without a token',
} as const

/** Neither bodies nor headers: signatures and tokens stay out of logs. */
const ACCESS_LOG = {
  requestId: '$context.requestId',
  at: '$context.requestTime',
  route: '$context.routeKey',
  status: '$context.status',
  ip: '$context.identity.sourceIp',
  bytes: '$context.responseLength',
  ms: '$context.responseLatency',
  functionMs: '$context.integrationLatency',
  error: '$context.error.message',
}
