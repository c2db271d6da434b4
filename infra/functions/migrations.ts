import { Duration } from 'aws-cdk-lib'
import { Trigger } from 'aws-cdk-lib/triggers'
import type { VARIABLES } from '../../functions/migrations/config.ts'
import { TIMEOUT_S } from '../capacity.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, decryptBySecretsManager, type Platform } from '../platform.ts'

/** Prepares the database while the stack is deployed; what comes after it gets the new code only when that worked. */
export function migrations(platform: Platform): { made: LambdaFunction; trigger: Trigger } {
  const { data, network, parameters } = platform
  // The owner of the schema logs in at the database itself: a proxy knows only the roles of the functions.
  const { variables: where } = databaseAccess({ ...platform, proxy: undefined }, 'cf_status')
  const variables: Record<(typeof VARIABLES)[number], string> = {
    DATABASE_HOST: where.DATABASE_HOST,
    DATABASE_PORT: where.DATABASE_PORT,
    DATABASE_NAME: where.DATABASE_NAME,
    DATABASE_CA_FILE: where.DATABASE_CA_FILE,
    DATABASE_MASTER_SECRET_ARN: data.database.masterSecretArn,
    ADMIN_TOKEN_SECRET_ARN: data.secrets['admin-token'],
    TENANT_NAME: parameters.tenantName,
  }
  const secrets = {
    grants: [
      {
        sid: 'ReadMasterAndToken',
        actions: ['secretsmanager:GetSecretValue'],
        resources: [data.database.masterSecretArn, data.secrets['admin-token']],
      },
      {
        sid: 'FillTheFirstToken',
        actions: ['secretsmanager:DescribeSecret', 'secretsmanager:PutSecretValue'],
        resources: [data.secrets['admin-token']],
      },
      decryptBySecretsManager(data),
      {
        ...decryptBySecretsManager(data),
        sid: 'EncryptThroughSecretsManager',
        actions: ['kms:GenerateDataKey'],
      },
    ],
    doors: [network.doors.toDatabase, network.doors.toSecrets],
  }
  const made = new LambdaFunction(platform, {
    name: 'migrations',
    variables,
    access: [secrets],
    memoryMib: 512,
    waiting: 'deployment',
  })
  const timeout = Duration.seconds(TIMEOUT_S.migrations)
  return { made, trigger: new Trigger(made, 'AtDeployment', { handler: made.fn, timeout }) }
}
