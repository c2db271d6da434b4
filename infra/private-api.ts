import { createHash } from 'node:crypto'
import { RemovalPolicy, Stack } from 'aws-cdk-lib'
import {
  CfnAccount,
  CfnDeployment,
  CfnMethod,
  CfnResource as CfnPathPart,
  type CfnRestApi,
  CfnStage,
} from 'aws-cdk-lib/aws-apigateway'
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { CfnPermission } from 'aws-cdk-lib/aws-lambda'
import type { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import { ROUTES } from '../functions/routes.ts'
import { acknowledge } from './acknowledge.ts'
import { arn, grantTo, logGroupArn } from './grants.ts'
import type { HttpFunctions } from './http-api.ts'
import { splitKey, THROTTLE } from './throttle.ts'

type Parts = { readonly api: CfnRestApi; readonly functions: HttpFunctions; readonly accessLog: LogGroup }

/** The same table as a REST API that only the endpoint in the VPC can reach. Its events become payload 2.0 in the functions. */
export function privateApi(scope: Construct, { api, functions, accessLog }: Parts): void {
  permit(scope, api, functions)
  const parts = new Map<string, string>([['', api.attrRootResourceId]])
  const methods = ROUTES.map((route) => {
    const { method, path } = splitKey(route.key)
    const made = new CfnMethod(scope, route.key, {
      restApiId: api.ref,
      resourceId: pathPart(scope, { api, parts, path }),
      httpMethod: method,
      authorizationType: 'NONE',
      integration: {
        type: 'AWS_PROXY',
        integrationHttpMethod: 'POST',
        uri: invocation(scope, functions[route.function].fn.functionArn),
        timeoutInMillis: 29_000,
      },
    })
    acknowledge(made, METHOD_REASONS)
    return made
  })
  deploy(scope, { api, accessLog, methods })
}

/** One for each segment; `parts` remembers those that are there. */
function pathPart(
  scope: Construct,
  { api, parts, path }: { api: CfnRestApi; parts: Map<string, string>; path: string },
): string {
  const known = parts.get(path)
  if (known !== undefined) return known
  const cut = path.lastIndexOf('/')
  const parentId = pathPart(scope, { api, parts, path: path.slice(0, cut) })
  const made = new CfnPathPart(scope, `path ${path}`, {
    restApiId: api.ref,
    parentId,
    pathPart: path.slice(cut + 1),
  })
  parts.set(path, made.ref)
  return made.ref
}

function deploy(
  scope: Construct,
  { api, accessLog, methods }: { api: CfnRestApi; accessLog: LogGroup; methods: readonly CfnMethod[] },
): void {
  // A deployment is a snapshot: another table needs another one, and so another logical id.
  const digest = createHash('sha256').update(JSON.stringify(ROUTES)).digest('hex').slice(0, 12)
  const deployment = new CfnDeployment(scope, `Deployment${digest}`, { restApiId: api.ref })
  deployment.applyRemovalPolicy(RemovalPolicy.RETAIN)
  for (const method of methods) deployment.addResourceDependency(method)
  const account = logIntoCloudWatch(scope)
  const stage = new CfnStage(scope, 'Stage', {
    restApiId: api.ref,
    deploymentId: deployment.ref,
    stageName: 'cf',
    accessLogSetting: { destinationArn: logGroupArn(scope, accessLog), format: JSON.stringify(ACCESS_LOG) },
    methodSettings: [
      {
        resourcePath: '/*',
        httpMethod: '*',
        loggingLevel: 'ERROR',
        dataTraceEnabled: false,
        metricsEnabled: true,
      },
      ...ROUTES.map(({ key, caller }) => {
        const { method, path } = splitKey(key)
        return {
          resourcePath: `/${path.replaceAll('~', '~0').replaceAll('/', '~1')}`,
          httpMethod: method,
          loggingLevel: 'ERROR',
          metricsEnabled: true,
          throttlingRateLimit: THROTTLE[caller].rate,
          throttlingBurstLimit: THROTTLE[caller].burst,
        }
      }),
    ],
  })
  stage.addResourceDependency(account)
  acknowledge(stage, STAGE_REASONS)
}

function permit(scope: Construct, api: CfnRestApi, functions: HttpFunctions): void {
  for (const [name, { fn }] of Object.entries(functions)) {
    new CfnPermission(scope, `${name}-permission`, {
      action: 'lambda:InvokeFunction',
      functionName: fn.functionArn,
      principal: 'apigateway.amazonaws.com',
      sourceArn: arn(scope, 'execute-api', `${api.ref}/*`),
    })
  }
}

function invocation(scope: Construct, functionArn: string): string {
  const { partition, region } = Stack.of(scope)
  return `arn:${partition}:apigateway:${region}:lambda:path/2015-03-31/functions/${functionArn}/invocations`
}

/** REST APIs of an account and region write their logs with one role. */
function logIntoCloudWatch(scope: Construct): CfnAccount {
  const role = new Role(scope, 'ApiLogsRole', { assumedBy: new ServicePrincipal('apigateway.amazonaws.com') })
  const policy = grantTo(role, role, [
    {
      sid: 'WriteLogs',
      actions: [
        'logs:CreateLogGroup',
        'logs:CreateLogStream',
        'logs:DescribeLogGroups',
        'logs:DescribeLogStreams',
        'logs:PutLogEvents',
        'logs:GetLogEvents',
        'logs:FilterLogEvents',
      ],
      resources: [arn(scope, 'logs', '*')],
      because:
        'the role is one for all REST APIs of the account, and API Gateway names the log groups of their execution',
    },
  ])
  const account = new CfnAccount(scope, 'ApiLogs', { cloudWatchRoleArn: role.roleArn })
  account.node.addDependency(policy)
  return account
}

const SIGNED =
  'every function verifies a signature or a token of its caller; nothing outside of the named networks reaches the API'
const METHOD_REASONS = {
  'AwsSolutions-APIG4': SIGNED,
  'AwsSolutions-COG4': SIGNED,
}
const STAGE_REASONS = {
  'AwsSolutions-APIG3': 'the API cannot be reached from the internet; the network decides who may connect',
  'NIST.800.53.R5-APIGWAssociatedWithWAF':
    'the API cannot be reached from the internet; the network decides who may connect',
  'NIST.800.53.R5-APIGWCacheEnabledAndEncrypted':
    'answers depend on who asks and are never cached (cache-control: no-store)',
  'NIST.800.53.R5-APIGWSSLEnabled':
    'the back end is a function, which API Gateway calls by IAM; there is no HTTP back end that could check a client certificate',
}

/** Neither bodies nor headers: signatures and tokens stay out of logs. */
const ACCESS_LOG = {
  requestId: '$context.requestId',
  at: '$context.requestTime',
  route: '$context.resourcePath',
  method: '$context.httpMethod',
  status: '$context.status',
  ip: '$context.identity.sourceIp',
  bytes: '$context.responseLength',
  ms: '$context.responseLatency',
  functionMs: '$context.integration.latency',
  error: '$context.error.message',
}
