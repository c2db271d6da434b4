import { CfnResource, type Stack } from 'aws-cdk-lib'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { IConstruct } from 'constructs'
import { arn, type Grant, REASONS } from './grants.ts'
import { KEPT } from './kept.ts'
import type { Parameters } from './parameters.ts'

/**
 * CDK brings functions of its own for what CloudFormation cannot do (empty the default security group of the VPC, start our
 * functions while they are deployed), with a policy of AWS that lets them write every log of the account, into a log that
 * is neither encrypted nor ever dropped. Here they write one of ours, and nothing else. Call it when everything is in the
 * stack.
 */
export function narrowCustomResources(
  stack: Stack,
  { parameters, key }: { parameters: Parameters; key: IKey },
): void {
  const providers = stack.node.children.filter(({ node }) => node.id.endsWith('CustomResourceProvider'))
  if (providers.length === 0) return
  const log = new LogGroup(stack, 'CustomResourceLogs', {
    logGroupName: `/aws/lambda/${stack.stackName}-custom-resources`,
    encryptionKey: key,
    retention: parameters.logRetentionDays,
    removalPolicy: KEPT,
  })
  for (const provider of providers) {
    const role = resource(provider, 'Role')
    resource(provider, 'Handler').addPropertyOverride('LoggingConfig', { LogGroup: log.logGroupName })
    const logs = writeLog(stack, log.logGroupName)
    role.addPropertyOverride('ManagedPolicyArns', [])
    role.addPropertyOverride('Policies.1', {
      PolicyName: 'OwnLogs',
      PolicyDocument: {
        Version: '2012-10-17',
        Statement: [
          { Sid: logs.sid, Effect: 'Allow', Action: [...logs.actions], Resource: [...logs.resources] },
        ],
      },
    })
    const starts = provider.node.id.includes('Trigger') ? OF_TRIGGER : {}
    role.addMetadata(REASONS, { [logs.sid]: logs.because, ...starts })
  }
}

function resource(provider: IConstruct, id: string): CfnResource {
  const found = provider.node.findChild(id)
  if (!(found instanceof CfnResource)) throw new TypeError(`${found.node.path} is no resource`)
  return found
}

function writeLog(stack: Stack, logGroupName: string): Grant & { readonly because: string } {
  return {
    sid: 'WriteOwnLogs',
    actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    resources: [arn(stack, 'logs', `log-group:${logGroupName}:log-stream:*`)],
    because: 'Lambda makes a log stream for each instance and names it',
  }
}

/** CDK writes this statement without a Sid, so it goes by its action. */
const OF_TRIGGER = {
  'lambda:InvokeFunction':
    'the two functions that prepare a deployment, in any of their versions, whose numbers are not known before',
}
