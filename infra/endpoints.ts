import type { Stack } from 'aws-cdk-lib'
import {
  InterfaceVpcEndpoint,
  InterfaceVpcEndpointAwsService,
  type IVpc,
  Peer,
  Port,
  SecurityGroup,
} from 'aws-cdk-lib/aws-ec2'
import { AnyPrincipal } from 'aws-cdk-lib/aws-iam'
import type { Construct } from 'constructs'
import { explainWildcards, type Grant, statement } from './grants.ts'

/** A way from the isolated subnets to one service of AWS, for functions that wear `door`, and for nothing outside of this account. */
export function interfaceEndpoint(
  scope: Stack,
  { vpc, door, service }: { vpc: IVpc; door: SecurityGroup; service: keyof typeof SERVICES },
): InterfaceVpcEndpoint {
  const { id, address, actions } = SERVICES[service]
  const inside = new SecurityGroup(scope, `${id}Endpoint`, {
    vpc,
    description: `Endpoint of ${service}`,
    allowAllOutbound: false,
  })
  inside.addIngressRule(door, Port.tcp(443), 'HTTPS, from functions')
  door.addEgressRule(inside, Port.tcp(443), `HTTPS, to ${service}`)
  const endpoint = new InterfaceVpcEndpoint(scope, id, {
    vpc,
    service: address,
    securityGroups: [inside],
    open: false,
    privateDnsEnabled: true,
  })
  const grant: Grant = {
    sid: 'OwnAccount',
    actions,
    resources: ['*'],
    when: { StringEquals: { 'aws:PrincipalAccount': scope.account, 'aws:ResourceAccount': scope.account } },
    because:
      'the endpoint bounds the account and the actions; the resource stands in the policy of each function',
  }
  const allowed = statement(grant)
  allowed.addPrincipals(new AnyPrincipal())
  endpoint.addToPolicy(allowed)
  explainWildcards(endpoint, [grant])
  return endpoint
}

/** The door of a private API, open to the networks of hosts, builders and operators. */
export function privateApiEndpoint(
  scope: Construct,
  vpc: IVpc,
  clientCidrs: readonly string[],
): InterfaceVpcEndpoint {
  const inside = new SecurityGroup(scope, 'ApiEndpoint', {
    vpc,
    description: 'Clients of the API',
    allowAllOutbound: false,
  })
  for (const cidr of clientCidrs) inside.addIngressRule(Peer.ipv4(cidr), Port.tcp(443), 'HTTPS, from clients')
  return new InterfaceVpcEndpoint(scope, 'Api', {
    vpc,
    service: InterfaceVpcEndpointAwsService.APIGATEWAY,
    securityGroups: [inside],
    open: false,
    privateDnsEnabled: true,
  })
}

const SERVICES = {
  sqs: {
    id: 'Sqs',
    address: InterfaceVpcEndpointAwsService.SQS,
    actions: [
      'sqs:SendMessage',
      'sqs:ReceiveMessage',
      'sqs:DeleteMessage',
      'sqs:ChangeMessageVisibility',
      'sqs:GetQueueAttributes',
    ],
  },
  secretsmanager: {
    id: 'SecretsManager',
    address: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    actions: [
      'secretsmanager:GetSecretValue',
      'secretsmanager:DescribeSecret',
      'secretsmanager:PutSecretValue',
    ],
  },
} as const
