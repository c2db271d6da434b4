import { Fn } from 'aws-cdk-lib'
import { Port, SecurityGroup, SubnetType } from 'aws-cdk-lib/aws-ec2'
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { CfnDBProxy, CfnDBProxyTargetGroup } from 'aws-cdk-lib/aws-rds'
import type { Construct } from 'constructs'
import type { DataStack } from './data-stack.ts'
import { arn, grantTo } from './grants.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'

/** RDS Proxy with IAM from end to end: functions log in to it, and it to the database, without any password. */
export function databaseProxy(
  scope: Construct,
  { parameters, network, data }: { parameters: Parameters; network: NetworkStack; data: DataStack },
): { host: string; resourceId: string } {
  const { database } = data
  const role = new Role(scope, 'ProxyRole', { assumedBy: new ServicePrincipal('rds.amazonaws.com') })
  grantTo(role, role, [
    {
      sid: 'LogInAsFunctions',
      actions: ['rds-db:connect'],
      resources: ROLES.map((name) => arn(scope, 'rds-db', `dbuser:${database.resourceId}/${name}`)),
    },
  ])
  const proxy = new CfnDBProxy(scope, 'Proxy', {
    dbProxyName: parameters.name,
    engineFamily: 'POSTGRESQL',
    defaultAuthScheme: 'IAM_AUTH',
    requireTls: true,
    roleArn: role.roleArn,
    vpcSubnetIds: network.vpc.selectSubnets({ subnetType: SubnetType.PRIVATE_ISOLATED }).subnetIds,
    vpcSecurityGroupIds: [proxyDoor(scope, network).securityGroupId],
  })
  new CfnDBProxyTargetGroup(scope, 'ProxyTargets', {
    dbProxyName: proxy.ref,
    targetGroupName: 'default',
    ...(database.kind === 'aurora'
      ? { dbClusterIdentifiers: Object.values(database.dimensions) }
      : { dbInstanceIdentifiers: Object.values(database.dimensions) }),
  })
  // arn:PARTITION:rds:REGION:ACCOUNT:db-proxy:ID
  return { host: proxy.attrEndpoint, resourceId: Fn.select(6, Fn.split(':', proxy.attrDbProxyArn)) }
}

function proxyDoor(scope: Construct, { vpc, doors }: NetworkStack): SecurityGroup {
  const door = new SecurityGroup(scope, 'ProxyDoor', {
    vpc,
    description: 'RDS Proxy',
    allowAllOutbound: false,
  })
  door.addIngressRule(doors.toDatabase, Port.tcp(5432), 'Postgres, from functions')
  doors.toDatabase.addEgressRule(door, Port.tcp(5432), 'Postgres, through the proxy', true)
  door.addEgressRule(doors.database, Port.tcp(5432), 'Postgres')
  doors.database.addIngressRule(door, Port.tcp(5432), 'Postgres, from the proxy', true)
  return door
}

const ROLES = [
  'cf_ingest',
  'cf_enroll',
  'cf_hooks',
  'cf_builders',
  'cf_cache',
  'cf_operators',
  'cf_controls',
  'cf_scheduler',
  'cf_status',
]
