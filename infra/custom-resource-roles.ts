import { CfnResource, type Stack } from 'aws-cdk-lib'
import { arn, type Grant, REASONS } from './grants.ts'

/**
 * CDK brings functions of its own for what CloudFormation cannot do (empty the default security group of the VPC, start our
 * functions while they are deployed), with a policy of AWS that lets them write every log of the account. Here they may write
 * their own. Call it when everything is in the stack.
 */
export function narrowCustomResources(stack: Stack): void {
  for (const provider of stack.node.children.filter(({ node }) =>
    node.id.endsWith('CustomResourceProvider'),
  )) {
    const role = provider.node.findChild('Role')
    if (!(role instanceof CfnResource)) throw new TypeError(`${role.node.path} is no resource`)
    const logs = ownLogs(stack)
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

function ownLogs(stack: Stack): Grant & { readonly because: string } {
  // CloudFormation shortens the name of the stack when the whole would be longer than the name of a function may be.
  const beginning = stack.stackName.slice(0, 20)
  return {
    sid: 'WriteOwnLogs',
    actions: ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents'],
    resources: [arn(stack, 'logs', `log-group:/aws/lambda/${beginning}*`)],
    because: 'CloudFormation names the function, beginning with the name of the stack',
  }
}

/** CDK writes this statement without a Sid, so it goes by its action. */
const OF_TRIGGER = {
  'lambda:InvokeFunction':
    'the two functions that prepare a deployment, in any of their versions, whose numbers are not known before',
}
