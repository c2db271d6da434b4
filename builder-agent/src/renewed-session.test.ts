import type { BuilderHelloAnswer } from '@crystal-forge/protocol'
import { expect, test } from 'vitest'
import { memoryHints } from '../test/memory-hints.ts'
import { quietLog } from '../test/quiet-log.ts'
import type { Answer } from './control-plane.ts'
import { madeOnce, type RenewedSession, renewedQueue, renewedSession } from './renewed-session.ts'

const MINUTE = 60_000
const places = (name: string): BuilderHelloAnswer => ({
  builder: 'bld_1',
  name: 'builder-1',
  queues: { resolve: `${name}-r`, evaluate: `${name}-e`, build: `${name}-b`, scan: `${name}-s` },
  cache: { bucket: name, prefix: 't_1', region: 'eu-central-1' },
  lease_s: 30,
  server_time: '2026-11-28T12:00:00.000Z',
})

type Said = { hellos: number; answer: Answer<BuilderHelloAnswer>; minute: number }
type World = Said & { readonly session: RenewedSession }

function opened(): World {
  const said: Said = { hellos: 0, answer: { kind: 'ok', body: places('moved') }, minute: 0 }
  const session = renewedSession(places('first'), {
    hello: async () => {
      said.hellos += 1
      return said.answer
    },
    now: () => said.minute * MINUTE,
    log: quietLog(),
  })
  return Object.assign(said, { session })
}

test('hello is said again after a quarter of an hour, and what moved is used from then on', async () => {
  const world = opened()
  world.minute = 14
  await world.session.renewIfDue()
  expect([world.hellos, world.session.current().cache.bucket]).toEqual([0, 'first'])
  world.minute = 15
  await world.session.renewIfDue()
  await world.session.renewIfDue()
  expect([world.hellos, world.session.current().cache.bucket]).toEqual([1, 'moved'])
})

test('many lanes that ask at once say it once', async () => {
  const world = opened()
  world.minute = 20
  await Promise.all(Array.from({ length: 8 }, () => world.session.renewIfDue()))
  expect(world.hellos).toBe(1)
})

test('a queue that does not answer brings it forward, once a minute however often that is', async () => {
  const world = opened()
  const looks = (): Promise<void> => {
    world.session.doubt()
    return world.session.renewIfDue()
  }
  await looks()
  expect(world.hellos).toBe(0)
  world.minute = 1
  await looks()
  await looks()
  expect(world.hellos).toBe(1)
  world.minute = 2
  await looks()
  expect(world.hellos).toBe(2)
})

test.each<Answer<BuilderHelloAnswer>>([
  { kind: 'unanswered', why: 'status 503', retryAfterMs: undefined },
  { kind: 'refused', status: 401, code: 'signature_refused', detail: 'no' },
])('what was said last stays when the answer is $kind', async (answer) => {
  const world = opened()
  world.answer = answer
  world.minute = 20
  await world.session.renewIfDue()
  expect([world.hellos, world.session.current().cache.bucket]).toEqual([1, 'first'])
})

test('hints come from the queue that was moved to, without a restart', async () => {
  const world = opened()
  const queues = new Map(['first', 'moved'].map((name) => [name, memoryHints()]))
  const queueNamed = (name: string): ReturnType<typeof memoryHints> => queues.get(name) ?? memoryHints()
  const queue = renewedQueue(world.session, ({ cache }) => queueNamed(cache.bucket))
  queueNamed('moved').put({ v: 1, job: 'job_1', attempt: 1 })
  queueNamed('first').breakOnce()
  const { signal } = new AbortController()
  await expect(queue.receive(signal)).rejects.toThrow('the queue is away')
  world.minute = 1
  expect((await queue.receive(signal))?.body).toContain('job_1')
})

test('connections are made anew only when a place has changed', async () => {
  const world = opened()
  let made = 0
  const bucket = madeOnce(world.session, ({ cache }) => `${cache.bucket} ${++made}`)
  expect([bucket(), bucket()]).toEqual(['first 1', 'first 1'])
  world.answer = { kind: 'ok', body: { ...places('first'), server_time: '2026-11-28T12:15:00.000Z' } }
  world.minute = 20
  await world.session.renewIfDue()
  expect(bucket()).toBe('first 1')
  world.answer = { kind: 'ok', body: places('moved') }
  world.minute = 40
  await world.session.renewIfDue()
  expect(bucket()).toBe('moved 2')
})
