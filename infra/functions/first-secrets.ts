import { Duration } from 'aws-cdk-lib'
import { Trigger } from 'aws-cdk-lib/triggers'
import type { VARIABLES } from '../../functions/first-secrets/config.ts'
import { TIMEOUT_S } from '../capacity.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { decryptBySecretsManager, type Platform } from '../platform.ts'

/** Gives secrets their first value while the stack is deployed. It can write them once and read none of them. */
export function firstSecrets(platform: Platform): { made: LambdaFunction; trigger: Trigger } {
  const { data, network, parameters } = platform
  const variables: Record<(typeof VARIABLES)[number], string> = {
    SEALING_KEY_SECRET_ARN: data.secrets['sealing-key'],
    JOB_SIGNING_KEY_SECRET_ARN: data.secrets['job-signing-key'],
    NARINFO_KEY_SECRET_ARN: data.secrets['narinfo-key'],
    EXPORT_SIGNING_KEY_SECRET_ARN: data.secrets['export-signing-key'],
    CACHE_KEY_NAME: parameters.cacheKeyName,
  }
  const { sid: _, ...throughSecretsManager } = decryptBySecretsManager(data)
  const secrets = {
    grants: [
      {
        sid: 'FillFirstValues',
        actions: ['secretsmanager:DescribeSecret', 'secretsmanager:PutSecretValue'],
        resources: [
          data.secrets['sealing-key'],
          data.secrets['job-signing-key'],
          data.secrets['narinfo-key'],
          data.secrets['export-signing-key'],
        ],
      },
      // Secrets Manager decrypts the data key that it has just got, before it stores a value.
      {
        ...throughSecretsManager,
        sid: 'EncryptThroughSecretsManager',
        actions: ['kms:GenerateDataKey', 'kms:Decrypt'],
      },
    ],
    doors: [network.doors.toSecrets],
  }
  const made = new LambdaFunction(platform, {
    name: 'first-secrets',
    variables,
    access: [secrets],
    memoryMib: 256,
    waiting: 'deployment',
  })
  const timeout = Duration.seconds(TIMEOUT_S['first-secrets'])
  return { made, trigger: new Trigger(made, 'AtDeployment', { handler: made.fn, timeout }) }
}
