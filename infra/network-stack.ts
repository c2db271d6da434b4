import { Stack, type StackProps } from 'aws-cdk-lib'
import { CfnRestApi } from 'aws-cdk-lib/aws-apigateway'
import { CfnApi } from 'aws-cdk-lib/aws-apigatewayv2'
import {
  FlowLog,
  FlowLogDestination,
  FlowLogResourceType,
  GatewayVpcEndpointAwsService,
  type InterfaceVpcEndpoint,
  IpAddresses,
  type IVpc,
  Peer,
  Port,
  SecurityGroup,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2'
import { AnyPrincipal, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { Key } from 'aws-cdk-lib/aws-kms'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import { acknowledge } from './acknowledge.ts'
import { asVpc } from './cdk-interfaces.ts'
import { narrowCustomResources } from './custom-resource-roles.ts'
import { interfaceEndpoint, privateApiEndpoint } from './endpoints.ts'
import { explainWildcards, type Grant, grantTo, ownAccount, statement } from './grants.ts'
import { KEPT } from './kept.ts'
import { logsUser, storageKey } from './keys.ts'
import type { Parameters } from './parameters.ts'

/** Who may open a connection to what. A function wears only those that it needs. */
export type Doors = {
  readonly database: SecurityGroup
  readonly toDatabase: SecurityGroup
  readonly toQueues: SecurityGroup
  readonly toSecrets: SecurityGroup
  readonly toObjects: SecurityGroup
}

/** Where requests arrive. It is made here, because hosts sign its name and it has to outlive everything else. */
export type Address =
  | { readonly kind: 'http'; readonly api: CfnApi; readonly authority: string }
  | { readonly kind: 'rest'; readonly api: CfnRestApi; readonly authority: string }

/** What changes least: the network, the address of the API, and the key of the logs. */
export class NetworkStack extends Stack {
  readonly vpc: IVpc
  readonly doors: Doors
  readonly address: Address
  readonly logsKey: Key

  constructor(
    scope: Construct,
    id: string,
    { parameters, ...props }: StackProps & { parameters: Parameters },
  ) {
    super(scope, id, props)
    this.logsKey = storageKey(this, 'LogsKey', {
      alias: `${parameters.name}/logs`,
      description: 'Encrypts the logs',
      users: [logsUser(this, parameters.name)],
    })
    this.vpc = isolatedVpc(this, parameters)
    recordFlows(this, { vpc: this.vpc, key: this.logsKey, parameters })
    this.doors = doors(this, this.vpc)
    gatewayToObjects(this, this.vpc)
    interfaceEndpoint(this, { vpc: this.vpc, door: this.doors.toQueues, service: 'sqs' })
    interfaceEndpoint(this, { vpc: this.vpc, door: this.doors.toSecrets, service: 'secretsmanager' })
    this.address = address(this, this.vpc, parameters)
    // Also without a proxy, so that one can be given up: an export that somebody still imports cannot go.
    this.exportValue(this.vpc.vpcId)
    narrowCustomResources(this, { parameters, key: this.logsKey })
  }
}

function isolatedVpc(scope: Construct, { vpcCidr, availabilityZones, name }: Parameters): IVpc {
  const vpc = new Vpc(scope, 'Vpc', {
    vpcName: name,
    ipAddresses: IpAddresses.cidr(vpcCidr),
    availabilityZones: [...availabilityZones],
    natGateways: 0,
    createInternetGateway: false,
    restrictDefaultSecurityGroup: true,
    subnetConfiguration: [{ name: 'isolated', subnetType: SubnetType.PRIVATE_ISOLATED, cidrMask: 24 }],
  })
  return asVpc(vpc)
}

function recordFlows(
  scope: Construct,
  { vpc, key, parameters }: { vpc: IVpc; key: Key; parameters: Parameters },
): void {
  const logGroup = new LogGroup(scope, 'FlowLogs', {
    logGroupName: `/${parameters.name}/vpc-flows`,
    encryptionKey: key,
    retention: parameters.logRetentionDays,
    removalPolicy: KEPT,
  })
  const role = new Role(scope, 'FlowLogsRole', {
    assumedBy: new ServicePrincipal('vpc-flow-logs.amazonaws.com', { conditions: ownAccount(scope) }),
  })
  grantTo(role, role, [
    {
      sid: 'WriteFlows',
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:DescribeLogStreams'],
      resources: [logGroup.logGroupArn],
      because:
        'the ARN of a log group ends in :*, which stands for its streams, one for each network interface',
    },
  ])
  new FlowLog(scope, 'Flows', {
    resourceType: FlowLogResourceType.fromVpc(vpc),
    destination: FlowLogDestination.toCloudWatchLogs(logGroup, role.withoutPolicyUpdates()),
  })
}

function doors(scope: Construct, vpc: IVpc): Doors {
  const door = (id: string, description: string): SecurityGroup =>
    new SecurityGroup(scope, id, { vpc, description, allowAllOutbound: false })
  const database = door('Database', 'The database')
  const toDatabase = door('ToDatabase', 'Functions that talk to the database')
  toDatabase.addEgressRule(database, Port.tcp(5432), 'Postgres')
  database.addIngressRule(toDatabase, Port.tcp(5432), 'Postgres, from functions')
  const toObjects = door('ToObjects', 'Functions that talk to S3')
  // The subnets have no way out but the gateway endpoint, whose addresses differ by region and change.
  toObjects.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'S3, through the gateway endpoint')
  return {
    database,
    toDatabase,
    toObjects,
    toQueues: door('ToQueues', 'Functions that talk to SQS'),
    toSecrets: door('ToSecrets', 'Functions that read secrets when they start'),
  }
}

function gatewayToObjects(scope: Stack, vpc: IVpc): void {
  const endpoint = vpc.addGatewayEndpoint('S3', { service: GatewayVpcEndpointAwsService.S3 })
  const grant: Grant = {
    sid: 'OwnBuckets',
    actions: ['s3:GetObject', 's3:PutObject', 's3:AbortMultipartUpload', 's3:ListBucket'],
    resources: ['*'],
    when: { StringEquals: { 'aws:PrincipalAccount': scope.account, 'aws:ResourceAccount': scope.account } },
    because: 'the endpoint bounds the account; which bucket a function may use stands in its own policy',
  }
  const allowed = statement(grant)
  allowed.addPrincipals(new AnyPrincipal())
  endpoint.addToPolicy(allowed)
  explainWildcards(endpoint, [grant])
}

function address(scope: Stack, vpc: IVpc, parameters: Parameters): Address {
  const { name, exposure, publicHost } = parameters
  if (exposure === 'private') return privateAddress(scope, vpc, parameters)
  const api = new CfnApi(scope, 'Api', {
    name,
    protocolType: 'HTTP',
    description: 'Crystal Forge',
    // With a domain of its own there is one name to sign, and the other one is closed.
    disableExecuteApiEndpoint: publicHost !== undefined,
  })
  const authority = publicHost ?? `${api.ref}.execute-api.${scope.region}.${scope.urlSuffix}`
  return { kind: 'http', api, authority }
}

function privateAddress(scope: Stack, vpc: IVpc, parameters: Parameters): Address {
  const endpoint: InterfaceVpcEndpoint = privateApiEndpoint(scope, vpc, parameters.clientCidrs)
  const grant: Grant = {
    sid: 'OnlyThroughOurEndpoint',
    actions: ['execute-api:Invoke'],
    resources: ['execute-api:/*'],
    when: { StringEquals: { 'aws:SourceVpce': endpoint.vpcEndpointId } },
    because:
      'the short form means this API; each route is guarded by the signature or token that its function checks',
  }
  const { sid, actions, resources, when } = grant
  const api = new CfnRestApi(scope, 'PrivateApi', {
    name: parameters.name,
    description: 'Crystal Forge',
    endpointConfiguration: { types: ['PRIVATE'], vpcEndpointIds: [endpoint.vpcEndpointId] },
    binaryMediaTypes: ['*/*'],
    policy: {
      Version: '2012-10-17',
      Statement: [
        { Sid: sid, Effect: 'Allow', Principal: '*', Action: actions, Resource: resources, Condition: when },
      ],
    },
  })
  api.addMetadata('crystal-forge:reasons', { [sid]: grant.because })
  acknowledge(api, {
    'AwsSolutions-APIG2':
      'bodies are validated by the functions, which answer with problems that name the field; a model of API Gateway would be a second, weaker schema',
  })
  const authority = `${api.ref}-${endpoint.vpcEndpointId}.execute-api.${scope.region}.${scope.urlSuffix}`
  return { kind: 'rest', api, authority }
}
