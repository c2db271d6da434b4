import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { buildApp } from 'fauxqs'
import * as z from 'zod'

export type EmbeddedSqs = {
  /** Whether the request is for SQS, by its header. */
  takes(request: IncomingMessage): boolean
  handle(request: IncomingMessage, response: ServerResponse): void
  /** Resolves to the queue's URL. */
  ensureQueue(name: string, attributes: Readonly<Record<string, string>>): Promise<string>
  /** What a redrive policy names. */
  queueArn(name: string): string
  /** Ends waiting receives with an empty answer. */
  close(): Promise<void>
}

/**
 * SQS in memory. Messages do not outlive the process, and need not: the outbox in Postgres is the truth and its sweep
 * publishes again what is due.
 */
export async function embeddedSqs(settings: {
  readonly region: string
  readonly origin: () => string
}): Promise<EmbeddedSqs> {
  const app = buildApp({ logger: false, defaultRegion: settings.region })
  const inject: Inject = async (action, body) => {
    const answer = await app.inject({
      method: 'POST',
      url: '/',
      headers: {
        'content-type': CONTENT_TYPE,
        'x-amz-target': `AmazonSQS.${action}`,
        host: new URL(settings.origin()).host,
      },
      payload: JSON.stringify(body),
    })
    return { status: answer.statusCode, body: JSON.parse(answer.body) }
  }

  app.addHook('onSend', async (request, _reply, payload) => {
    if (typeof payload !== 'string') return payload
    if (targetOf(request.raw) === 'ReceiveMessage') {
      // A caller that hung up just before the message came is noticed when the pending socket events were handled.
      await setImmediate()
      if (request.raw.socket.destroyed) await giveBack(inject, request.body, payload)
    }
    // A host name that no resolver knows would be of no use to other clients.
    return payload.replaceAll(MADE_UP_ORIGIN, `${settings.origin()}/`)
  })
  await app.ready()

  return {
    takes: (request) => targetOf(request) !== undefined,
    handle: (request, response) => app.routing(request, response),
    ensureQueue: (name, attributes) => ensureQueue(inject, { name, attributes, origin: settings.origin }),
    queueArn: (name) => `arn:aws:sqs:${settings.region}:${ACCOUNT}:${name}`,
    close: () => app.close(),
  }
}

type Inject = (action: string, body: object) => Promise<{ status: number; body: unknown }>

function targetOf(request: IncomingMessage): string | undefined {
  const target = request.headers['x-amz-target']
  return typeof target === 'string' && target.startsWith('AmazonSQS.')
    ? target.slice('AmazonSQS.'.length)
    : undefined
}

/** A receive whose caller hung up must not hide messages until their visibility timeout. */
async function giveBack(inject: Inject, asked: unknown, payload: string): Promise<void> {
  const { QueueUrl } = receiveRequest.parse(asked)
  const { Messages = [] } = receiveAnswer.parse(JSON.parse(payload))
  for (const { ReceiptHandle } of Messages) {
    await inject('ChangeMessageVisibility', { QueueUrl, ReceiptHandle, VisibilityTimeout: 0 })
  }
}

type Wanted = {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly origin: () => string
}

async function ensureQueue(inject: Inject, { name, attributes, origin }: Wanted): Promise<string> {
  const url = `${origin()}/${ACCOUNT}/${name}`
  const created = await inject('CreateQueue', { QueueName: name, Attributes: attributes })
  if (created.status === 200) return url
  const changed = await inject('SetQueueAttributes', { QueueUrl: url, Attributes: attributes })
  if (changed.status === 200) return url
  throw new Error(`the queue ${name} could not be made: ${JSON.stringify(created.body)}`)
}

const receiveRequest = z.object({ QueueUrl: z.string() })
const receiveAnswer = z.object({ Messages: z.array(z.object({ ReceiptHandle: z.string() })).optional() })
const CONTENT_TYPE = 'application/x-amz-json-1.0'
const ACCOUNT = '000000000000'
const MADE_UP_ORIGIN = /http:\/\/sqs\.[a-z0-9-]+\.localhost(?::\d+)?\//g
