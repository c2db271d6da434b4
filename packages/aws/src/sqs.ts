import {
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SendMessageBatchRequestEntry,
  type SQSClient,
} from '@aws-sdk/client-sqs'

export type OutgoingMessage = {
  readonly body: string
  readonly delaySeconds?: number
  /** Fairness between tenants on a standard queue; order and exclusion on a FIFO queue. */
  readonly groupId?: string
  /** FIFO queues only. */
  readonly deduplicationId?: string
  readonly attributes?: Readonly<Record<string, string>>
}

/** A message of a batch that the queue did not take, by its place in what was sent. */
export type NotSent = { readonly index: number; readonly code: string; readonly message: string }

export type ReceivedMessage = {
  readonly id: string
  readonly body: string
  /** What deletes it or changes its visibility; good for this delivery only. */
  readonly receipt: string
  /** Roughly how often it was delivered, this time included. */
  readonly deliveries: number
  readonly sentAt: Date
  readonly attributes: Readonly<Record<string, string>>
}

export type ReceiveOptions = {
  /** 1 to 10. */
  readonly max?: number
  /** 0 to 20. */
  readonly waitSeconds?: number
  /** Instead of the time that the queue is set to. */
  readonly visibilitySeconds?: number
  /** Ends the wait; the answer is then empty. */
  readonly signal?: AbortSignal
}

export type QueueDepth = { readonly waiting: number; readonly inFlight: number; readonly delayed: number }

/** One queue. Delivery is at least once and in no order, unless it is a FIFO queue. */
export type Queue = {
  readonly url: string
  /** Any number of messages, in batches. Resolves when each is stored or refused; throws when the service cannot be reached. */
  send(messages: readonly OutgoingMessage[]): Promise<readonly NotSent[]>
  receive(options?: ReceiveOptions): Promise<readonly ReceivedMessage[]>
  /** Returns the receipts that could not be deleted; those messages come again. */
  delete(receipts: readonly string[]): Promise<readonly string[]>
  /** Seconds from now, 0 to 43200. 0 gives the message back. */
  changeVisibility(receipt: string, seconds: number): Promise<void>
  /** Approximate, as SQS counts. */
  depth(): Promise<QueueDepth>
}

export function queue(client: SQSClient, url: string): Queue {
  return {
    url,
    send: (messages) => send(client, url, messages),
    receive: (options = {}) => receive(client, url, options),
    delete: (receipts) => deleteAll(client, url, receipts),
    changeVisibility: async (receipt, seconds) => {
      const input = { QueueUrl: url, ReceiptHandle: receipt, VisibilityTimeout: seconds }
      await client.send(new ChangeMessageVisibilityCommand(input))
    },
    depth: () => depth(client, url),
  }
}

/** The URL of a queue by its name. Throws QueueDoesNotExist. */
export async function queueUrl(client: SQSClient, name: string): Promise<string> {
  const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: name }))
  if (QueueUrl === undefined) throw new Error(`SQS named no URL for the queue ${name}`)
  return QueueUrl
}

async function send(
  client: SQSClient,
  url: string,
  messages: readonly OutgoingMessage[],
): Promise<NotSent[]> {
  const notSent: NotSent[] = []
  for (const batch of batches(messages)) {
    const { Failed = [] } = await client.send(new SendMessageBatchCommand({ QueueUrl: url, Entries: batch }))
    for (const { Id, Code, Message: why } of Failed) {
      notSent.push({ index: Number(Id), code: Code ?? 'Unknown', message: why ?? '' })
    }
  }
  return notSent
}

/** Entries by tens, and by total size: SQS refuses a batch as a whole when it is too large. */
export function batches(messages: readonly OutgoingMessage[]): SendMessageBatchRequestEntry[][] {
  const all: SendMessageBatchRequestEntry[][] = []
  let bytes = 0
  for (const [index, message] of messages.entries()) {
    const size = sizeOf(message)
    const current = all.at(-1)
    if (current && current.length < BATCH_ENTRIES_MAX && bytes + size <= BATCH_BYTES_MAX) {
      current.push(entry(index, message))
      bytes += size
    } else {
      all.push([entry(index, message)])
      bytes = size
    }
  }
  return all
}

function sizeOf({ body, attributes = {} }: OutgoingMessage): number {
  const texts = [body, ...Object.entries(attributes).flatMap(([name, value]) => [name, 'String', value])]
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}

function entry(index: number, message: OutgoingMessage): SendMessageBatchRequestEntry {
  const { delaySeconds, groupId, deduplicationId, attributes } = message
  return {
    Id: String(index),
    MessageBody: message.body,
    ...(delaySeconds === undefined ? {} : { DelaySeconds: delaySeconds }),
    ...(groupId === undefined ? {} : { MessageGroupId: groupId }),
    ...(deduplicationId === undefined ? {} : { MessageDeduplicationId: deduplicationId }),
    ...(attributes === undefined ? {} : { MessageAttributes: stringAttributes(attributes) }),
  }
}

function stringAttributes(
  attributes: Readonly<Record<string, string>>,
): Record<string, { DataType: string; StringValue: string }> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name, { DataType: 'String', StringValue: value }]),
  )
}

async function receive(client: SQSClient, url: string, options: ReceiveOptions): Promise<ReceivedMessage[]> {
  const { max = BATCH_ENTRIES_MAX, waitSeconds = WAIT_SECONDS_MAX, visibilitySeconds, signal } = options
  const command = new ReceiveMessageCommand({
    QueueUrl: url,
    MaxNumberOfMessages: max,
    WaitTimeSeconds: waitSeconds,
    MessageSystemAttributeNames: ['ApproximateReceiveCount', 'SentTimestamp'],
    MessageAttributeNames: ['All'],
    ...(visibilitySeconds === undefined ? {} : { VisibilityTimeout: visibilitySeconds }),
  })
  try {
    const { Messages = [] } = await client.send(command, signal ? { abortSignal: signal } : {})
    return Messages.map(received)
  } catch (error) {
    if (signal?.aborted) return []
    throw error
  }
}

function received(message: Message): ReceivedMessage {
  if (message.MessageId === undefined || message.ReceiptHandle === undefined || message.Body === undefined) {
    throw new Error('SQS delivered a message without id, receipt or body')
  }
  const attributes = Object.entries(message.MessageAttributes ?? {}).flatMap(([name, { StringValue }]) =>
    StringValue === undefined ? [] : [[name, StringValue] as const],
  )
  return {
    id: message.MessageId,
    body: message.Body,
    receipt: message.ReceiptHandle,
    deliveries: Number(message.Attributes?.ApproximateReceiveCount ?? 1),
    sentAt: new Date(Number(message.Attributes?.SentTimestamp ?? 0)),
    attributes: Object.fromEntries(attributes),
  }
}

async function deleteAll(client: SQSClient, url: string, receipts: readonly string[]): Promise<string[]> {
  const left: string[] = []
  for (let start = 0; start < receipts.length; start += BATCH_ENTRIES_MAX) {
    const part = receipts.slice(start, start + BATCH_ENTRIES_MAX)
    const Entries = part.map((ReceiptHandle, index) => ({ Id: String(index), ReceiptHandle }))
    const { Failed = [] } = await client.send(new DeleteMessageBatchCommand({ QueueUrl: url, Entries }))
    for (const { Id } of Failed) left.push(part[Number(Id)] ?? '')
  }
  return left
}

async function depth(client: SQSClient, url: string): Promise<QueueDepth> {
  const { Attributes = {} } = await client.send(
    new GetQueueAttributesCommand({
      QueueUrl: url,
      AttributeNames: [
        'ApproximateNumberOfMessages',
        'ApproximateNumberOfMessagesNotVisible',
        'ApproximateNumberOfMessagesDelayed',
      ],
    }),
  )
  return {
    waiting: Number(Attributes.ApproximateNumberOfMessages ?? 0),
    inFlight: Number(Attributes.ApproximateNumberOfMessagesNotVisible ?? 0),
    delayed: Number(Attributes.ApproximateNumberOfMessagesDelayed ?? 0),
  }
}

const BATCH_ENTRIES_MAX = 10
/** The limit of SQS was raised to 1 MiB; hints are far below the old one, which every stand-in takes. */
const BATCH_BYTES_MAX = 256 * 1024
const WAIT_SECONDS_MAX = 20
