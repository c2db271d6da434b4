import { Duration } from 'aws-cdk-lib'
import { type ISecurityGroup, SubnetType } from 'aws-cdk-lib/aws-ec2'
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import {
  ApplicationLogLevel,
  Architecture,
  Code,
  Function as LambdaFn,
  LoggingFormat,
  Runtime,
  SystemLogLevel,
} from 'aws-cdk-lib/aws-lambda'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { acknowledge } from './acknowledge.ts'
import { alarm } from './alarms.ts'
import { CONCURRENCY, type FunctionName, TIMEOUT_S } from './capacity.ts'
import { arn, type Grant, grantTo } from './grants.ts'
import { KEPT } from './kept.ts'
import type { Access, Platform } from './platform.ts'
import { deadLetterQueue } from './queues.ts'

export type FunctionProps = {
  readonly name: FunctionName
  readonly variables: Readonly<Record<string, string>>
  /** What it may reach, beside its own log. */
  readonly access: readonly Pick<Access<string>, 'grants' | 'doors'>[]
  readonly memoryMib: number
  /**
   * `caller`: somebody waits for the answer and repeats by himself. `deployment`: CloudFormation waits, and stops when it
   * fails. `nobody`: what fails goes to a dead-letter queue.
   */
  readonly waiting: keyof typeof CALLED_SYNCHRONOUSLY | 'nobody'
}

/** One function of `functions/`, with a role, a policy, a log and alarms of its own, in the isolated subnets. */
export class LambdaFunction extends Construct {
  readonly fn: LambdaFn

  constructor(platform: Platform, props: FunctionProps) {
    super(platform.scope, props.name)
    const { parameters, network, data } = platform
    const functionName = `${parameters.name}-${props.name}`
    const logGroup = new LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${functionName}`,
      encryptionKey: network.logsKey,
      retention: parameters.logRetentionDays,
      removalPolicy: KEPT,
    })
    const deadLetters =
      props.waiting === 'nobody'
        ? deadLetterQueue(this, `${functionName}-dead-letters`, data.alarms)
        : undefined
    const role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') })
    const policy = grantTo(this, role, [
      ...ownGrants(this, functionName),
      ...props.access.flatMap(({ grants }) => grants),
      ...(deadLetters === undefined
        ? []
        : [{ sid: 'PutAside', actions: ['sqs:SendMessage'], resources: [deadLetters.queueArn] }]),
    ])
    this.fn = new LambdaFn(this, 'Function', {
      functionName,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      handler: 'index.handler',
      code: Code.fromAsset(platform.bundle(props.name)),
      environment: { ...props.variables },
      timeout: Duration.seconds(TIMEOUT_S[props.name]),
      memorySize: props.memoryMib,
      reservedConcurrentExecutions: CONCURRENCY[props.name],
      vpc: network.vpc,
      vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
      securityGroups: [...new Set(props.access.flatMap(({ doors }): readonly ISecurityGroup[] => doors))],
      logGroup,
      // Our own lines are JSON already. Of those that Lambda adds, three for each request say what its metrics say.
      loggingFormat: LoggingFormat.JSON,
      systemLogLevelV2: SystemLogLevel.WARN,
      // Ours are written as they are: alarms read lines of every level.
      applicationLogLevelV2: ApplicationLogLevel.TRACE,
      // CDK would add a policy of AWS with more than is needed.
      role: role.withoutPolicyUpdates(),
      ...(deadLetters === undefined ? {} : { deadLetterQueue: deadLetters, retryAttempts: 0 }),
    })
    this.fn.node.addDependency(policy)
    if (props.waiting !== 'nobody')
      acknowledge(this.fn, { 'NIST.800.53.R5-LambdaDLQ': CALLED_SYNCHRONOUSLY[props.waiting] })
    alarms(this, { fn: this.fn, props, platform })
  }
}

function ownGrants(scope: Construct, functionName: string): Grant[] {
  const self = arn(scope, 'lambda', `function:${functionName}`)
  return [
    {
      sid: 'WriteOwnLog',
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [arn(scope, 'logs', `log-group:/aws/lambda/${functionName}:log-stream:*`)],
      because: 'Lambda makes a log stream for each instance and names it',
    },
    {
      sid: 'LiveInTheVpc',
      actions: NETWORK_ACTIONS,
      resources: ['*'],
      because:
        'Lambda uses the role of the function to attach it to the VPC, and EC2 knows no resource for these calls; the code itself is denied them below',
    },
    {
      sid: 'CodeHasNoBusinessInTheVpc',
      effect: 'Deny',
      actions: NETWORK_ACTIONS,
      resources: ['*'],
      when: { ArnEquals: { 'lambda:SourceFunctionArn': self } },
    },
  ]
}

function alarms(
  scope: Construct,
  { fn, props, platform }: { fn: LambdaFn; props: FunctionProps; platform: Platform },
): void {
  const { name } = props
  const topic = platform.data.alarms
  const period = Duration.minutes(5)
  alarm(scope, 'ErrorsAlarm', {
    topic,
    says: `${name} fails: requests end in a 500, or scheduled work is not done.`,
    section: 'function-errors',
    metric: fn.metricErrors({ period }),
    threshold: 0,
  })
  // A deployment that finds its function taken stops and says so.
  if (props.waiting === 'deployment') return
  alarm(scope, 'ThrottlesAlarm', {
    topic,
    says: `More requests for ${name} than its ${CONCURRENCY[name]} instances can take.`,
    section: 'function-throttles',
    metric: fn.metricThrottles({ period }),
    threshold: 0,
    periods: 2,
  })
}

const CALLED_SYNCHRONOUSLY = {
  caller: 'it is only called synchronously: the caller gets the error and repeats',
  deployment: 'only the deployment calls it, synchronously, and stops with its error',
} as const
const NETWORK_ACTIONS = [
  'ec2:CreateNetworkInterface',
  'ec2:DescribeNetworkInterfaces',
  'ec2:DescribeSubnets',
  'ec2:DeleteNetworkInterface',
  'ec2:AssignPrivateIpAddresses',
  'ec2:UnassignPrivateIpAddresses',
]
