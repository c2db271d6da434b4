import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib'
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { Key } from 'aws-cdk-lib/aws-kms'
import type { LogGroup } from 'aws-cdk-lib/aws-logs'
import { Topic } from 'aws-cdk-lib/aws-sns'
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions'
import type { Construct } from 'constructs'
import { type Buckets, buckets } from './buckets.ts'
import { cacheCdn } from './cache-cdn.ts'
import { cacheReaders } from './cache-readers.ts'
import { type Database, database } from './database.ts'
import { arn, ownAccount, statement } from './grants.ts'
import { senderUser, signingKey, storageKey } from './keys.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'
import { type SecretArns, secrets } from './secrets.ts'
import { eventLog } from './service-events.ts'

/** What must not be lost: the database, the buckets, the keys, the secrets, and who is told of alarms. */
export class DataStack extends Stack {
  readonly key: Key
  /** Signs orders to hosts, once there are any. */
  readonly directorKey: Key
  readonly database: Database
  readonly buckets: Buckets
  readonly secrets: SecretArns
  readonly alarms: Topic
  /** What AWS's own services said. */
  readonly events: LogGroup

  constructor(
    scope: Construct,
    id: string,
    { parameters, network, ...props }: StackProps & { parameters: Parameters; network: NetworkStack },
  ) {
    super(scope, id, props)
    this.key = storageKey(this, 'DataKey', {
      alias: `${parameters.name}/data`,
      description: 'Encrypts the database, the evidence, the secrets and the alarms',
      users: [
        senderUser(this, 'cloudwatch.amazonaws.com', 'Alarms'),
        senderUser(this, 'budgets.amazonaws.com', 'Budgets'),
      ],
    })
    this.directorKey = signingKey(this, 'DirectorKey', {
      alias: `${parameters.name}/director`,
      description: 'Signs orders to hosts (Ed25519)',
    })
    this.database = database(this, { network, parameters, key: this.key })
    this.buckets = buckets(this, parameters, this.key)
    if (parameters.cacheReads === 'cloudfront') cacheCdn(this, this.buckets)
    else cacheReaders(this, parameters.name, this.buckets.cache)
    this.secrets = secrets(this, parameters.name, this.key)
    this.alarms = alarmTopic(this, parameters, this.key)
    this.events = eventLog(this, { parameters, key: network.logsKey })
    new CfnOutput(this, 'EvidenceBucketName', {
      value: this.buckets.evidence.bucketName,
      description: 'What is put here (cf export --bundle) can neither be changed nor taken back',
    })
    if (parameters.alarmEmail !== undefined)
      this.alarms.addSubscription(new EmailSubscription(parameters.alarmEmail))
  }
}

/** A topic with a policy has lost the one by which alarms of its account may write to it, so that is said here. */
function alarmTopic(scope: Construct, { name }: Parameters, key: Key): Topic {
  const topic = new Topic(scope, 'Alarms', { topicName: `${name}-alarms`, masterKey: key, enforceSSL: true })
  const allowed = statement({
    sid: 'AlarmsTell',
    actions: ['sns:Publish'],
    resources: [topic.topicArn],
    when: { ...ownAccount(scope), ArnLike: { 'aws:SourceArn': arn(scope, 'cloudwatch', 'alarm:*') } },
  })
  allowed.addPrincipals(new ServicePrincipal('cloudwatch.amazonaws.com'))
  topic.addToResourcePolicy(allowed)
  return topic
}
