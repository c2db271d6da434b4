import { setTimeout as sleep } from 'node:timers/promises'
import { type AwsSettings, queue, sqsClient } from '@crystal-forge/aws'
import { readAwsSettings } from './aws-settings.ts'
import type { EnvironmentReader } from './environment.ts'
import type { Endpoint } from './http-api.ts'
import type { Log } from './log.ts'

/** The queue whose messages start `relay-outbox` at once. Without one, as on one machine, something else does. */
export type RelayQueue = { readonly url: string; readonly aws: AwsSettings }

export function readRelayQueue(environment: EnvironmentReader): RelayQueue | undefined {
  const url = environment.optional('RELAY_QUEUE_URL')
  return url === undefined ? undefined : { url, aws: readAwsSettings(environment) }
}

export type Relay = {
  /** Resolves whatever happens: the schedule of the relay makes good what is lost here. */
  wake(): Promise<void>
  /** An endpoint that wakes the relay after each success, before its answer leaves. */
  after(endpoint: Endpoint): Endpoint
  close(): void
}

/** Tells the relay that the outbox has something new. The message says nothing: the rows are the truth. */
export function openRelay(relayQueue: RelayQueue | undefined, log: Log): Relay {
  if (relayQueue === undefined)
    return { wake: async () => {}, after: (endpoint) => endpoint, close: () => {} }
  const client = sqsClient(relayQueue.aws)
  const { send } = queue(client, relayQueue.url)
  const wake = async (): Promise<void> => {
    try {
      const [refused] = await within(WAKE_MS, send([{ body: 'look into the outbox' }]))
      if (refused !== undefined) log('warn', 'the relay was not woken', refused)
    } catch (error) {
      log('warn', 'the relay was not woken', { error })
    }
  }
  const after = (endpoint: Endpoint): Endpoint => {
    return async (request) => {
      const reply = await endpoint(request)
      if (reply.status < 300) await wake()
      return reply
    }
  }
  return { wake, after, close: () => client.destroy() }
}

/** The change is committed, and somebody waits for the answer: retries of the client must not use up the time of the request. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController()
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`no answer in ${ms} ms`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    timer.abort()
    // Whichever lost the race may still fail, and nobody waits for it.
    late.catch(() => {})
    work.catch(() => {})
  }
}

const WAKE_MS = 2_000
