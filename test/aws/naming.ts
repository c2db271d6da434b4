import { randomBytes } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
} from '@aws-sdk/client-s3'
import {
  CreateSecretCommand,
  DeleteSecretCommand,
  type SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager'
import { CreateQueueCommand, DeleteQueueCommand, GetQueueAttributesCommand } from '@aws-sdk/client-sqs'
import { type AwsClients, type Queue, queue } from '@crystal-forge/aws'

/** Things with names that nobody else has, so that runs do not meet; they are removed together. */
export type Naming = {
  queue(attributes?: Readonly<Record<string, string>>): Promise<MadeQueue>
  /** A queue whose messages are set aside after so many receives. */
  withDeadLetters(receivesMax: number): Promise<{ readonly source: MadeQueue; readonly dead: MadeQueue }>
  bucket(): Promise<string>
  /** The ARN of a secret, which has no value at first unless one is given. */
  secret(value?: string): Promise<string>
  removeAll(): Promise<void>
}
export type MadeQueue = Queue & { readonly arn: string }

type Clients = AwsClients & { readonly secrets: SecretsManagerClient }

export function naming({ sqs, s3, secrets }: Clients, region: string): Naming {
  const prefix = `cf-test-${randomBytes(6).toString('hex')}`
  const queues: string[] = []
  const buckets: string[] = []
  const arns: string[] = []
  let made = 0
  const makeQueue: Naming['queue'] = async (attributes = {}) => {
    const name = `${prefix}-${++made}`
    const { QueueUrl = '' } = await sqs.send(
      new CreateQueueCommand({ QueueName: name, Attributes: attributes }),
    )
    queues.push(QueueUrl)
    const { Attributes = {} } = await sqs.send(
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }),
    )
    return { ...queue(sqs, QueueUrl), arn: Attributes['QueueArn'] ?? '' }
  }
  return {
    queue: makeQueue,
    withDeadLetters: async (maxReceiveCount) => {
      const dead = await makeQueue()
      const policy = { deadLetterTargetArn: dead.arn, maxReceiveCount }
      return { dead, source: await makeQueue({ RedrivePolicy: JSON.stringify(policy) }) }
    },
    bucket: async () => {
      const name = `${prefix}-${++made}`
      // The oldest region is the one that must not be named.
      const where =
        region === 'us-east-1'
          ? {}
          : { CreateBucketConfiguration: { LocationConstraint: locationOf(region) } }
      await s3.send(new CreateBucketCommand({ Bucket: name, ...where }))
      buckets.push(name)
      return name
    },
    secret: async (SecretString) => {
      const command = new CreateSecretCommand({ Name: `${prefix}-${++made}`, SecretString })
      const { ARN = '' } = await secrets.send(command)
      arns.push(ARN)
      return ARN
    },
    removeAll: async () => {
      const removals = [
        ...arns.map((SecretId) =>
          secrets.send(new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true })),
        ),
        ...queues.map((QueueUrl) => sqs.send(new DeleteQueueCommand({ QueueUrl }))),
        ...buckets.map((name) => removeBucket(s3, name)),
      ]
      const failed = (await Promise.allSettled(removals)).flatMap((one) =>
        one.status === 'rejected' ? [one.reason] : [],
      )
      if (failed.length > 0)
        throw new AggregateError(failed, `could not remove everything whose name begins with ${prefix}`)
    },
  }
}

async function removeBucket(s3: AwsClients['s3'], Bucket: string): Promise<void> {
  const { Uploads = [] } = await s3
    .send(new ListMultipartUploadsCommand({ Bucket }))
    .catch(() => ({ Uploads: [] }))
  for (const { Key, UploadId } of Uploads)
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: Key ?? '', UploadId: UploadId ?? '' }))
  for (;;) {
    const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket }))
    if (Contents.length === 0) break
    for (const { Key } of Contents) await s3.send(new DeleteObjectCommand({ Bucket, Key: Key ?? '' }))
  }
  await s3.send(new DeleteBucketCommand({ Bucket }))
}

type Location = NonNullable<
  NonNullable<
    ConstructorParameters<typeof CreateBucketCommand>[0]['CreateBucketConfiguration']
  >['LocationConstraint']
>

function locationOf(region: string): Location {
  // The SDK lists the regions that it knew when it was made; S3 knows more.
  return region as Location
}
