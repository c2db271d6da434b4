import { randomUUID } from 'node:crypto'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import type { JobKind } from '@crystal-forge/protocol'
import type { Place } from '../pipeline/world.ts'
import { AUTHORITY, LEASE_S } from '../pipeline/world.ts'
import { databaseEnvironment, post } from '../postgres/agent-fleet.ts'
import { buildBundles, type Instance, startInstance } from './lambda.ts'
import type { MadeQueue } from './naming.ts'
import type { Target } from './target.ts'

/** Roles as `infra/` gives them. */
const ROLES = {
  'agent-reports': 'cf_ingest',
  'agent-keys': 'cf_enroll',
  webhooks: 'cf_hooks',
  'builder-jobs': 'cf_builders',
  'builder-cache': 'cf_cache',
  'operator-api': 'cf_operators',
  'controls-api': 'cf_controls',
  'relay-outbox': 'cf_scheduler',
  sweep: 'cf_scheduler',
  status: 'cf_status',
  'original-wire': 'cf_ingest',
} as const
export const DEPLOYED = Object.keys(ROLES) as readonly Deployed[]
export type Deployed = keyof typeof ROLES

export type Deployment = {
  readonly queues: Readonly<Record<JobKind, MadeQueue>>
  /** Where their messages end after five receives. */
  readonly deadLetters: Readonly<Record<JobKind, MadeQueue>>
  /** Tells `relay-outbox` that there is something. */
  readonly relayQueue: MadeQueue
  readonly bucket: string
  /** A new instance of a function with the variables that a deployment gives it. */
  start(name: Deployed, place: Place, changes?: Readonly<Record<string, string>>): Promise<Instance>
  /** Ends the instances. */
  close(): Promise<void>
}

/** The bundles, on queues and a bucket of their own. */
export async function deploy(target: Target, narinfoKeyFile: string): Promise<Deployment> {
  const bundles = await buildBundles()
  const [resolve, evaluate, build, scan] = await Promise.all(
    ['resolve', 'evaluate', 'build', 'scan'].map(() => target.make.withDeadLetters(5)),
  )
  if (!resolve || !evaluate || !build || !scan) throw new Error('a queue is missing')
  const relayQueue = await target.make.queue()
  const bucket = await target.make.bucket()
  const shared = {
    ...target.environment,
    PUBLIC_AUTHORITY: AUTHORITY,
    CACHE_BUCKET: bucket,
    LEASE_S: String(LEASE_S),
    NARINFO_KEY_FILE: narinfoKeyFile,
    RELAY_QUEUE_URL: relayQueue.url,
    QUEUE_URL_RESOLVE: resolve.source.url,
    QUEUE_URL_EVALUATE: evaluate.source.url,
    QUEUE_URL_BUILD: build.source.url,
    QUEUE_URL_SCAN: scan.source.url,
    DLQ_URL_RESOLVE: resolve.dead.url,
    DLQ_URL_EVALUATE: evaluate.dead.url,
    DLQ_URL_BUILD: build.dead.url,
    DLQ_URL_SCAN: scan.dead.url,
  }
  const running: Instance[] = []
  return {
    queues: { resolve: resolve.source, evaluate: evaluate.source, build: build.source, scan: scan.source },
    deadLetters: { resolve: resolve.dead, evaluate: evaluate.dead, build: build.dead, scan: scan.dead },
    relayQueue,
    bucket,
    start: async (name, { database, jobKeyFile, sealingKeyFile }, changes = {}) => {
      const instance = await startInstance(bundles.file(name), {
        ...shared,
        ...databaseEnvironment(database.url, ROLES[name]),
        DATABASE_CONNECTIONS: '1',
        JOB_SIGNING_KEY_FILE: jobKeyFile,
        SEALING_KEY_FILE: sealingKeyFile,
        ...changes,
      })
      running.push(instance)
      return instance
    },
    close: async () => {
      await Promise.all(running.map((one) => one.stop()))
      await bundles.remove()
    },
  }
}

/** An instance as the handler of a gateway. A stage is put in front of the path, as API Gateway does. */
export function asHandler(instance: Instance, stage = 'prod'): HttpHandler {
  return async (event) => {
    if (!('rawPath' in event)) throw new Error('only an event of an HTTP API has a stage in its path')
    const staged = {
      ...event,
      rawPath: `/${stage}${event.rawPath}`,
      requestContext: { ...event.requestContext, stage },
    }
    const answer = (await instance.invoke(staged)) as Exclude<Awaited<ReturnType<HttpHandler>>, string>
    // What the function wrote says why, and nobody else would.
    if (answer.statusCode === 500) process.stderr.write(instance.log())
    return answer
  }
}

/** A `GET` of a path with an optional query, as API Gateway hands it to a function. */
export function getEvent(target: string, headers: Readonly<Record<string, string>> = {}): object {
  const [path = '', rawQueryString = ''] = target.split('?')
  const event = post(path, { host: AUTHORITY, ...headers }, Buffer.alloc(0))
  const { body: _, ...rest } = event
  const { http } = event.requestContext
  const requestContext = { ...event.requestContext, http: { ...http, method: 'GET' } }
  return { ...rest, rawQueryString, routeKey: `GET ${path}`, isBase64Encoded: false, requestContext }
}

/** What a rule of EventBridge hands to a function every minute. */
export function scheduleEvent(now: Date = new Date()): object {
  return {
    version: '0',
    id: randomUUID(),
    'detail-type': 'Scheduled Event',
    source: 'aws.events',
    account: '000000000000',
    time: now.toISOString(),
    region: 'us-east-1',
    resources: ['arn:aws:events:us-east-1:000000000000:rule/every-minute'],
    detail: {},
  }
}

/** What an event source mapping hands to a function. */
export function sqsEvent(bodies: readonly string[]): object {
  return {
    Records: bodies.map((body) => ({
      messageId: randomUUID(),
      receiptHandle: 'r',
      body,
      attributes: { ApproximateReceiveCount: '1', SentTimestamp: '0' },
      messageAttributes: {},
      eventSource: 'aws:sqs',
      eventSourceARN: 'arn:aws:sqs:us-east-1:000000000000:q',
      awsRegion: 'us-east-1',
    })),
  }
}
