import { Duration, RemovalPolicy } from 'aws-cdk-lib'
import { InstanceType, SubnetType } from 'aws-cdk-lib/aws-ec2'
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import {
  AuroraPostgresEngineVersion,
  type CfnDBCluster,
  type CfnDBInstance,
  ClusterInstance,
  Credentials,
  DatabaseCluster,
  DatabaseClusterEngine,
  DatabaseInstance,
  DatabaseInstanceEngine,
  type IParameterGroup,
  ParameterGroup,
  PostgresEngineVersion,
  StorageType,
} from 'aws-cdk-lib/aws-rds'
import type { Construct } from 'constructs'
import { acknowledge } from './acknowledge.ts'
import { arn, grantTo, ownAccount } from './grants.ts'
import { KEPT } from './kept.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'

/** What the rest needs to know of the database, whichever engine it is. */
export type Database = {
  readonly kind: Parameters['database']
  readonly host: string
  readonly port: string
  /** The id in `rds-db:connect`. */
  readonly resourceId: string
  /** JSON with username and password, rotated by RDS. */
  readonly masterSecretArn: string
  /** Dimension of its metrics. */
  readonly dimensions: Readonly<Record<string, string>>
}

export type DatabaseParts = { network: NetworkStack; parameters: Parameters; key: IKey }

/** Postgres 18 in the isolated subnets: encrypted, TLS only, logins by IAM, restorable to any second. */
export function database(scope: Construct, parts: DatabaseParts): Database {
  return parts.parameters.database === 'rds' ? instance(scope, parts) : cluster(scope, parts)
}

function instance(scope: Construct, { network, parameters, key }: DatabaseParts): Database {
  // Only the major version, here and below: RDS takes over new minor ones by itself, and would refuse a template that asks for an older one.
  const engine = DatabaseInstanceEngine.postgres({ version: PostgresEngineVersion.VER_18 })
  const made = new DatabaseInstance(scope, 'Database', {
    ...common(scope, { network, parameters, key }),
    // By name, so that its logs can be kept below; a change that would replace it by an empty one fails instead.
    instanceIdentifier: parameters.name,
    engine,
    instanceType: new InstanceType(parameters.databaseClass),
    parameterGroup: settings(scope, engine),
    multiAz: parameters.databaseMultiAz,
    storageType: StorageType.GP3,
    allocatedStorage: parameters.databaseStorageGib,
    maxAllocatedStorage: parameters.databaseStorageGib * 10,
    backupRetention: Duration.days(parameters.backupDays),
    databaseName: DATABASE_NAME,
    securityGroups: [network.doors.database],
    cloudwatchLogsExports: [...LOGS_OF_INSTANCE],
    autoMinorVersionUpgrade: true,
    publiclyAccessible: false,
  })
  made.node.addDependency(
    ...exportedLogs(scope, { network, parameters }, `instance/${parameters.name}`, LOGS_OF_INSTANCE),
  )
  acknowledge(made, REASONS)
  acknowledge(made, { 'AwsSolutions-RDS11': PORT })
  if (!parameters.databaseMultiAz)
    acknowledge(made, {
      'AwsSolutions-RDS3':
        'databaseMultiAz=false was chosen for this deployment: an hour without a database is accepted',
      'NIST.800.53.R5-RDSMultiAZSupport':
        'databaseMultiAz=false was chosen for this deployment: an hour without a database is accepted',
    })
  if (!parameters.deletionProtection)
    acknowledge(
      made,
      unprotected('AwsSolutions-RDS10', 'NIST.800.53.R5-RDSInstanceDeletionProtectionEnabled'),
    )
  const resource = made.node.defaultChild as CfnDBInstance
  return {
    kind: 'rds',
    host: made.dbInstanceEndpointAddress,
    port: made.dbInstanceEndpointPort,
    resourceId: made.instanceResourceId ?? '',
    masterSecretArn: resource.attrMasterUserSecretSecretArn,
    dimensions: { DBInstanceIdentifier: made.instanceIdentifier },
  }
}

function cluster(scope: Construct, { network, parameters, key }: DatabaseParts): Database {
  const engine = DatabaseClusterEngine.auroraPostgres({ version: AuroraPostgresEngineVersion.of('18', '18') })
  const {
    monitoringInterval,
    monitoringRole,
    enablePerformanceInsights: _,
    performanceInsightEncryptionKey: __,
    ...shared
  } = common(scope, { network, parameters, key })
  const insights = { enablePerformanceInsights: true, performanceInsightEncryptionKey: key }
  const made = new DatabaseCluster(scope, 'Database', {
    ...shared,
    clusterIdentifier: parameters.name,
    engine,
    writer: ClusterInstance.serverlessV2('Writer', insights),
    ...(parameters.databaseMultiAz
      ? { readers: [ClusterInstance.serverlessV2('Reader', { ...insights, scaleWithWriter: true })] }
      : {}),
    // Heartbeats of a fleet never let it pause, so the least that is ever billed is said here.
    serverlessV2MinCapacity: 0.5,
    cloudwatchLogsExports: [...LOGS_OF_CLUSTER],
    serverlessV2MaxCapacity: parameters.auroraCapacityMax,
    parameterGroup: settings(scope, engine),
    monitoringInterval,
    monitoringRole,
    backup: { retention: Duration.days(parameters.backupDays) },
    defaultDatabaseName: DATABASE_NAME,
    securityGroups: [network.doors.database],
  })
  made.node.addDependency(
    ...exportedLogs(scope, { network, parameters }, `cluster/${parameters.name}`, LOGS_OF_CLUSTER),
  )
  acknowledge(made, REASONS)
  if (!parameters.deletionProtection)
    acknowledge(
      made,
      unprotected('AwsSolutions-RDS10', 'NIST.800.53.R5-RDSInstanceDeletionProtectionEnabled'),
    )
  const resource = made.node.defaultChild as CfnDBCluster
  return {
    kind: 'aurora',
    host: made.clusterEndpoint.hostname,
    port: String(POSTGRES_PORT),
    resourceId: made.clusterResourceIdentifier,
    masterSecretArn: resource.attrMasterUserSecretSecretArn,
    dimensions: { DBClusterIdentifier: made.clusterIdentifier },
  }
}

function common(scope: Construct, { network, parameters, key }: DatabaseParts) {
  return {
    vpc: network.vpc,
    vpcSubnets: { subnetType: SubnetType.PRIVATE_ISOLATED },
    credentials: Credentials.fromUsername('crystal_forge_owner', { encryptionKey: key }),
    manageMasterUserPassword: true,
    port: POSTGRES_PORT,
    iamAuthentication: true,
    storageEncrypted: true,
    storageEncryptionKey: key,
    deletionProtection: parameters.deletionProtection,
    removalPolicy: RemovalPolicy.SNAPSHOT,
    copyTagsToSnapshot: true,
    enablePerformanceInsights: true,
    performanceInsightEncryptionKey: key,
    monitoringInterval: Duration.minutes(1),
    monitoringRole: monitoringRole(scope),
  }
}

/** RDS makes these by itself, to be kept for ever and without our key, when nobody made them before. */
function exportedLogs(
  scope: Construct,
  { network, parameters }: Pick<DatabaseParts, 'network' | 'parameters'>,
  whose: string,
  logs: readonly string[],
): LogGroup[] {
  return logs.map(
    (log) =>
      new LogGroup(scope, `DatabaseLogs-${log}`, {
        logGroupName: `/aws/rds/${whose}/${log}`,
        encryptionKey: network.logsKey,
        retention: parameters.logRetentionDays,
        removalPolicy: KEPT,
      }),
  )
}

function settings(
  scope: Construct,
  engine: ConstructorParameters<typeof ParameterGroup>[2]['engine'],
): IParameterGroup {
  return new ParameterGroup(scope, 'Settings', {
    engine,
    description: 'Crystal Forge',
    parameters: {
      'rds.force_ssl': '1',
      // A statement that takes longer than a request may is worth a line in the log.
      log_min_duration_statement: '5000',
      // What it would compile takes longer to compile than to run: lists look at thousands of rows, not at millions.
      jit: '0',
      // Since 18 a list as well, but the old form is understood by every version and every check of RDS.
      log_connections: '1',
      log_disconnections: '1',
    },
  })
}

function monitoringRole(scope: Construct): Role {
  const role = new Role(scope, 'MonitoringRole', {
    assumedBy: new ServicePrincipal('monitoring.rds.amazonaws.com', { conditions: ownAccount(scope) }),
  })
  grantTo(role, role, [
    {
      sid: 'WriteMetrics',
      actions: ['logs:CreateLogGroup', 'logs:PutRetentionPolicy'],
      resources: [arn(scope, 'logs', 'log-group:RDSOSMetrics')],
    },
    {
      sid: 'WriteStreams',
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents', 'logs:DescribeLogStreams', 'logs:GetLogEvents'],
      resources: [arn(scope, 'logs', 'log-group:RDSOSMetrics:log-stream:*')],
      because:
        'one stream for each instance, named by RDS; the log group is named by RDS as well and is the same for an account',
    },
  ])
  return role
}

function unprotected(...ids: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    ids.map((id) => [id, 'deletionProtection=false was chosen for this deployment, as a trial']),
  )
}

export const DATABASE_NAME = 'crystal_forge'
const POSTGRES_PORT = 5432
const LOGS_OF_INSTANCE = ['postgresql', 'upgrade'] as const
const LOGS_OF_CLUSTER = ['postgresql'] as const

const PORT = 'the port is not a secret: only the functions of this VPC can reach it, and they log in by IAM'
const REASONS = {
  'NIST.800.53.R5-RDSInBackupPlan':
    'RDS keeps its own backups and logs for point-in-time recovery (backupDays); AWS Backup would be a second copy of the same, in the same account',
}
