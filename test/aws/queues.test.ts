import { SendMessageCommand } from '@aws-sdk/client-sqs'
import type { Queue } from '@crystal-forge/aws'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { needs } from './capabilities.ts'
import { openTarget, type Target } from './target.ts'

// Only what a standard queue promises: no order, no exact numbers, everything in the end.
let target: Target
beforeAll(async () => {
  target = await openTarget()
})
afterAll(() => target?.close())

/** As a builder does that is told to stop while it waits. */
async function breakOffReceive(queue: Queue): Promise<void> {
  const stop = new AbortController()
  const broken = queue.receive({ waitSeconds: 20, signal: stop.signal })
  setTimeout(() => stop.abort(), 200)
  expect(await broken).toEqual([])
}

const patience = { timeout: 30_000, interval: 100 }

describe('a queue', () => {
  test('wakes a receive that waits for a message', async () => {
    const queue = await target.make.queue()
    const waiting = queue.receive({ waitSeconds: 20 })
    await queue.send([{ body: 'hello', attributes: { traceparent: '00-1-2-01' } }])
    expect(await waiting).toMatchObject([{ body: 'hello', attributes: { traceparent: '00-1-2-01' } }])
  })

  test('answers a receive with nothing when its time is over', async () => {
    expect(await (await target.make.queue()).receive({ waitSeconds: 1 })).toEqual([])
  })

  test('does not lose a message to a receive that was broken off, at worst it hides it for a while', async () => {
    const queue = await target.make.queue({ VisibilityTimeout: '2' })
    await breakOffReceive(queue)
    await queue.send([{ body: 'kept' }])
    await vi.waitFor(async () => {
      const received = await queue.receive({ waitSeconds: 5 })
      expect(received.map(({ body }) => body)).toEqual(['kept'])
    }, patience)
  })

  test('does not even hide a message from others because of a receive that was broken off', async (context) => {
    needs(context, target, 'abortedPolls')
    const queue = await target.make.queue()
    await breakOffReceive(queue)
    await queue.send([{ body: 'kept' }])
    const received = await queue.receive({ waitSeconds: 20 })
    expect(received.map(({ body }) => body)).toEqual(['kept'])
  })

  test('hides a received message, for longer when its holder says so, and not at all when it gives it back', async () => {
    const queue = await target.make.queue({ VisibilityTimeout: '2' })
    await queue.send([{ body: 'work' }])
    const [held] = await queue.receive({ waitSeconds: 20 })
    await queue.changeVisibility(held?.receipt ?? '', 60)
    // Longer than the queue would have hidden it.
    expect(await queue.receive({ waitSeconds: 3 })).toEqual([])
    await queue.changeVisibility(held?.receipt ?? '', 0)
    const again = await queue.receive({ waitSeconds: 20 })
    expect(again).toMatchObject([{ body: 'work', id: held?.id }])
    expect(again[0]?.deliveries).toBeGreaterThan(1)
  })

  test('gives a message again that nobody deleted in time, and never again once it is deleted', async () => {
    const queue = await target.make.queue({ VisibilityTimeout: '1' })
    await queue.send([{ body: 'twice' }])
    const [first] = await queue.receive({ waitSeconds: 20 })
    const second = await vi.waitFor(async () => {
      const [message] = await queue.receive({ waitSeconds: 1, visibilitySeconds: 30 })
      if (message === undefined) throw new Error('not yet')
      return message
    }, patience)
    expect(second.id).toBe(first?.id)
    expect(await queue.delete([second.receipt])).toEqual([])
    expect(await queue.receive({ waitSeconds: 2 })).toEqual([])
  })

  test('sets aside, once, what is received again and again', async () => {
    const { source, dead } = await target.make.withDeadLetters(2)
    await source.send([{ body: 'poison' }])
    const setAside = await vi.waitFor(async () => {
      await source.receive({ waitSeconds: 1, visibilitySeconds: 0 })
      const received = await dead.receive({ waitSeconds: 1 })
      if (received.length === 0) throw new Error('not yet')
      return received
    }, patience)
    expect(setAside.map(({ body }) => body)).toEqual(['poison'])
    expect(await source.receive({ waitSeconds: 1 })).toEqual([])
    expect(await dead.receive({ waitSeconds: 1 })).toEqual([])
  })

  test('takes more than ten messages and says which ones it refused', async () => {
    const queue = await target.make.queue()
    const bodies = Array.from({ length: 23 }, (_, n) => `message ${n}`)
    expect(await queue.send(bodies.map((body) => ({ body })))).toEqual([])
    const got = new Set<string>()
    await vi.waitFor(async () => {
      for (const { body, receipt } of await queue.receive({ waitSeconds: 1 })) {
        got.add(body)
        await queue.delete([receipt])
      }
      expect(got).toEqual(new Set(bodies))
    }, patience)
  })

  test('that does not exist is an error and not an empty answer', async () => {
    const { url } = await target.make.queue()
    const lost = new SendMessageCommand({ QueueUrl: `${url}-not-there`, MessageBody: 'x' })
    await expect(target.clients.sqs.send(lost)).rejects.toThrow(/exist/)
  })
})

describe('the target', () => {
  test('refuses a wrong signature', (context) => {
    needs(context, target, 'signatures')
    expect(target.can.signatures).toBe(true)
  })

  test('lets a function do what its policy lists and nothing else', (context) => {
    context.skip('not run: needs a deployed stack; npm run synth and the tests of infra/ hold the policies')
  })

  test('lets a role log in to RDS with a token', (context) => {
    context.skip('not run: needs an RDS instance; packages/aws tests the token itself')
  })

  test('as an emulator lacks what it is known to lack and nothing else', (context) => {
    if (target.kind !== 'embedded') context.skip(`about the embedded emulator, not ${target.name}`)
    const lacking = Object.entries(target.can).flatMap(([name, has]) => (has ? [] : [name]))
    expect(new Set(lacking)).toEqual(new Set(['deadLetterSources', 'listParts', 'signatures']))
  })
})

describe('the choice of a target', () => {
  test.each([
    [{ CF_AWS: 'real' }, /needs CF_AWS_ACCOUNT/],
    [{ CF_AWS: 'yes' }, /the only value is "real"/],
    [{ CF_AWS: 'real', CF_AWS_ACCOUNT: '1', AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }, /contradict/],
  ])('%j is refused before anything is made', async (environment, message) => {
    await expect(openTarget(environment)).rejects.toThrow(message)
  })
})
