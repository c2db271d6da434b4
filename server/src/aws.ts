import { join } from 'node:path'
import { awsClients, queueUrl } from '@crystal-forge/aws'
import { HINT_RECEIVES_MAX } from '@crystal-forge/functions/builder-jobs/config.ts'
import type { Log } from '@crystal-forge/functions/log.ts'
import { JOB_KINDS, type JobKind } from '@crystal-forge/protocol'
import type { ServerConfig } from './config.ts'
import { startEmbeddedAws } from './embedded-aws.ts'

/** Where the queues and the cache of a server are. */
export type Aws = {
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly queues: Readonly<Record<JobKind, string>>
  /** Undefined when somebody else made the queues and made none for this. */
  readonly deadLetters: Readonly<Record<JobKind, string>> | undefined
  stop(): Promise<void>
}

/** Starts the embedded emulator, or takes the queues and the bucket that are behind `AWS_ENDPOINT_URL`. */
export async function startAws(config: ServerConfig, log: Log): Promise<Aws> {
  return config.awsEndpoint === undefined ? embedded(config, log) : external(config, config.awsEndpoint)
}

async function embedded(config: ServerConfig, log: Log): Promise<Aws> {
  const aws = await startEmbeddedAws({ dataDir: join(config.dataDir, 'aws'), ephemeral: config.ephemeral })
  log('debug', 'embedded SQS and S3', { endpoint: aws.endpoint })
  try {
    const dead = await Promise.all(
      JOB_KINDS.map(async (kind) => [kind, await aws.ensureQueue(deadName(kind))] as const),
    )
    const queues = await Promise.all(
      JOB_KINDS.map(async (kind) => {
        const redrive = {
          deadLetterTargetArn: aws.queueArn(deadName(kind)),
          maxReceiveCount: HINT_RECEIVES_MAX,
        }
        return [
          kind,
          await aws.ensureQueue(queueName(kind), { RedrivePolicy: JSON.stringify(redrive) }),
        ] as const
      }),
    )
    await aws.ensureBucket(BUCKET)
    const { endpoint } = aws
    return {
      endpoint,
      region: config.region,
      bucket: BUCKET,
      queues: asRecord(queues),
      deadLetters: asRecord(dead),
      stop: () => aws.close(),
    }
  } catch (error) {
    await aws.close()
    throw error
  }
}

async function external(config: ServerConfig, endpoint: string): Promise<Aws> {
  const { sqs } = awsClients({ region: config.region, endpoint: { sqs: endpoint, s3: endpoint } })
  try {
    const queues = await Promise.all(
      JOB_KINDS.map(async (kind) => [kind, await queueUrl(sqs, queueName(kind))] as const),
    )
    const dead = await Promise.allSettled(
      JOB_KINDS.map(async (kind) => [kind, await queueUrl(sqs, deadName(kind))] as const),
    )
    const found = dead.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    return {
      endpoint,
      region: config.region,
      bucket: BUCKET,
      queues: asRecord(queues),
      deadLetters: found.length === dead.length ? asRecord(found) : undefined,
      stop: async () => {},
    }
  } catch (cause) {
    throw new Error(`AWS_ENDPOINT_URL: the queues crystal-forge-* at ${endpoint} cannot be asked for`, {
      cause,
    })
  } finally {
    sqs.destroy()
  }
}

function queueName(kind: JobKind): string {
  return `crystal-forge-${kind}`
}

function deadName(kind: JobKind): string {
  return `${queueName(kind)}-dead`
}

function asRecord(entries: readonly (readonly [JobKind, string])[]): Record<JobKind, string> {
  const urls = new Map(entries)
  const url = (kind: JobKind): string => {
    const found = urls.get(kind)
    if (found === undefined) throw new Error(`the queue ${queueName(kind)} has no URL`)
    return found
  }
  return { resolve: url('resolve'), evaluate: url('evaluate'), build: url('build'), scan: url('scan') }
}

const BUCKET = 'crystal-forge-cache'
