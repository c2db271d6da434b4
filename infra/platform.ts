import type { ISecurityGroup } from 'aws-cdk-lib/aws-ec2'
import type { Queue } from 'aws-cdk-lib/aws-sqs'
import type { Construct } from 'constructs'
import type { FunctionName } from './capacity.ts'
import type { DataStack } from './data-stack.ts'
import { arn, type Grant } from './grants.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'
import type { QueueWithDeadLetters } from './queues.ts'

export type JobKind = 'resolve' | 'evaluate' | 'build' | 'scan'

/** Where functions live and what they may ask for. */
export type Platform = {
  readonly scope: Construct
  readonly parameters: Parameters
  readonly network: NetworkStack
  readonly data: DataStack
  /** Directory of the bundle of a function. */
  readonly bundle: (name: FunctionName) => string
  /** When the revocation list for the certificates of builders ends, if there is one. */
  readonly revocationListEndsAt: Date | undefined
  readonly jobQueues: Readonly<Record<JobKind, QueueWithDeadLetters>>
  readonly relayQueue: Queue
  /** Instead of the database itself, when there is a proxy. */
  readonly proxy: { readonly host: string; readonly resourceId: string } | undefined
}

/** Database roles, one for each family of functions. */
export type DatabaseRole =
  | 'cf_ingest'
  | 'cf_enroll'
  | 'cf_hooks'
  | 'cf_builders'
  | 'cf_cache'
  | 'cf_operators'
  | 'cf_controls'
  | 'cf_scheduler'
  | 'cf_status'

/** A function's part in something shared: variables, rights and doors that only make sense together. */
export type Access<Variable extends string> = {
  readonly variables: Readonly<Record<Variable, string>>
  readonly grants: readonly Grant[]
  readonly doors: readonly ISecurityGroup[]
}

export function databaseAccess(
  platform: Platform,
  role: DatabaseRole,
): Access<
  | 'DATABASE_HOST'
  | 'DATABASE_PORT'
  | 'DATABASE_NAME'
  | 'DATABASE_USER'
  | 'DATABASE_AUTH'
  | 'DATABASE_CA_FILE'
  | 'DATABASE_PROXY'
> {
  const { data, network, parameters, scope, proxy } = platform
  const { host, resourceId } = proxy ?? data.database
  return {
    variables: {
      DATABASE_HOST: host,
      DATABASE_PORT: data.database.port,
      DATABASE_NAME: 'crystal_forge',
      DATABASE_USER: role,
      DATABASE_AUTH: 'iam',
      DATABASE_CA_FILE: parameters.databaseCaFile,
      DATABASE_PROXY: proxy === undefined ? '0' : '1',
    },
    grants: [
      {
        sid: 'LogInAsOwnRole',
        actions: ['rds-db:connect'],
        resources: [arn(scope, 'rds-db', `dbuser:${resourceId}/${role}`)],
      },
    ],
    doors: [network.doors.toDatabase],
  }
}

/** To read one secret when an instance starts. */
export function secretAccess<Variable extends string>(
  { data, network }: Platform,
  variable: Variable,
  secret: keyof DataStack['secrets'],
): Access<Variable> {
  const variables = single(variable, data.secrets[secret])
  return {
    variables,
    grants: [
      {
        sid: 'ReadOwnSecret',
        actions: ['secretsmanager:GetSecretValue'],
        resources: [data.secrets[secret]],
      },
      decryptBySecretsManager(data),
    ],
    doors: [network.doors.toSecrets],
  }
}

/** The key of the secrets, but only through Secrets Manager, which asks for the secret's own right first. */
export function decryptBySecretsManager(data: DataStack): Grant {
  return {
    sid: 'DecryptThroughSecretsManager',
    actions: ['kms:Decrypt'],
    resources: [data.key.keyArn],
    when: { StringEquals: { 'kms:ViaService': `secretsmanager.${data.region}.${data.urlSuffix}` } },
  }
}

/** To wake the relay. */
export function relayAccess({ relayQueue, network }: Platform): Access<'RELAY_QUEUE_URL'> {
  return {
    variables: { RELAY_QUEUE_URL: relayQueue.queueUrl },
    grants: [{ sid: 'WakeTheRelay', actions: ['sqs:SendMessage'], resources: [relayQueue.queueArn] }],
    doors: [network.doors.toQueues],
  }
}

/** To look at NARs and to publish narinfos. */
export function cacheAccess({ data, network }: Platform): Access<'CACHE_BUCKET'> {
  const { cache } = data.buckets
  return {
    variables: { CACHE_BUCKET: cache.bucketName },
    grants: [
      {
        sid: 'SeeNars',
        actions: ['s3:GetObject'],
        resources: [cache.arnForObjects('*/nar/*')],
        because: 'the prefix is the tenant and the name a hash; both are only known to the request',
      },
      {
        sid: 'PublishNarinfos',
        actions: ['s3:PutObject'],
        resources: [cache.arnForObjects('*.narinfo'), cache.arnForObjects('*/nix-cache-info')],
        because: 'the prefix is the tenant and the name a hash; NARs are not among them',
      },
      // Without it S3 answers 403 instead of 404 for a NAR that is not there.
      { sid: 'TellMissingFromForbidden', actions: ['s3:ListBucket'], resources: [cache.bucketArn] },
    ],
    doors: [network.doors.toObjects],
  }
}

export function jobQueueVariables({
  jobQueues,
}: Platform): Readonly<
  Record<'QUEUE_URL_RESOLVE' | 'QUEUE_URL_EVALUATE' | 'QUEUE_URL_BUILD' | 'QUEUE_URL_SCAN', string>
> {
  return {
    QUEUE_URL_RESOLVE: jobQueues.resolve.queue.queueUrl,
    QUEUE_URL_EVALUATE: jobQueues.evaluate.queue.queueUrl,
    QUEUE_URL_BUILD: jobQueues.build.queue.queueUrl,
    QUEUE_URL_SCAN: jobQueues.scan.queue.queueUrl,
  }
}

/** To look at dead letters, and to give them back to the queues that they come from. */
export function deadLetterAccess(
  platform: Platform,
): Access<
  | keyof ReturnType<typeof jobQueueVariables>
  | 'DLQ_URL_RESOLVE'
  | 'DLQ_URL_EVALUATE'
  | 'DLQ_URL_BUILD'
  | 'DLQ_URL_SCAN'
> {
  const { jobQueues, network } = platform
  const all = Object.values(jobQueues)
  return {
    variables: {
      ...jobQueueVariables(platform),
      DLQ_URL_RESOLVE: jobQueues.resolve.deadLetters.queueUrl,
      DLQ_URL_EVALUATE: jobQueues.evaluate.deadLetters.queueUrl,
      DLQ_URL_BUILD: jobQueues.build.deadLetters.queueUrl,
      DLQ_URL_SCAN: jobQueues.scan.deadLetters.queueUrl,
    },
    grants: [
      {
        sid: 'TakeDeadLetters',
        actions: [
          'sqs:ReceiveMessage',
          'sqs:DeleteMessage',
          'sqs:ChangeMessageVisibility',
          'sqs:GetQueueAttributes',
        ],
        resources: all.map(({ deadLetters }) => deadLetters.queueArn),
      },
      {
        sid: 'GiveThemBack',
        actions: ['sqs:SendMessage'],
        resources: all.map(({ queue }) => queue.queueArn),
      },
    ],
    doors: [network.doors.toQueues],
  }
}

function single<Key extends string>(key: Key, value: string): Readonly<Record<Key, string>> {
  // A computed key widens to an index signature; this is the one place that knows better.
  return { [key]: value } as Readonly<Record<Key, string>>
}
