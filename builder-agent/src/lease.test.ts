import { setTimeout as sleep } from 'node:timers/promises'
import type { JobPayload } from '@crystal-forge/protocol'
import { afterEach, expect, test } from 'vitest'
import { type StandIn, standIn } from '../test/control-plane-stand-in.ts'
import { quietLog } from '../test/quiet-log.ts'
import { holdLease, type Lease } from './lease.ts'

const WORK: JobPayload = {
  kind: 'scan',
  derivation: 'd_1',
  drv_path: `/nix/store/${'0'.repeat(32)}-x.drv`,
  out_path: `/nix/store/${'0'.repeat(32)}-x`,
}
const SHORT_S = 0.3

let lease: Lease | undefined
afterEach(() => lease?.release())

type Held = {
  readonly world: StandIn
  readonly job: string
  readonly lease: Lease
  readonly hidden: number[]
}

function held(options: { readonly stop?: AbortSignal; readonly hint?: () => Promise<void> } = {}): Held {
  // The answers keep the lease short although the schema of the protocol wants whole seconds.
  const world = { ...standIn(1) }
  const job = world.add(WORK)
  const { fence } = world.claim(job)
  const hidden: number[] = []
  lease = holdLease({
    job,
    fence,
    leaseS: SHORT_S,
    controlPlane: world.plane,
    extendHint: async (seconds) => {
      hidden.push(seconds)
      await options.hint?.()
    },
    stop: options.stop ?? new AbortController().signal,
    log: quietLog(),
  })
  return { world, job, lease, hidden }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

test('heartbeats tell the progress and keep the hint hidden for as long as the lease', async () => {
  const { world, lease, hidden } = held()
  lease.report({ phase: 'build', done: 3, total: 0, unit: 'lines of log', note: 'cc -c x.c' })
  await until(() => hidden.length > 0)
  expect(world.heartbeats[0]?.progress).toEqual({
    phase: 'build',
    done: 3,
    total: 0,
    unit: 'lines of log',
    note: 'cc -c x.c',
  })
  expect(hidden[0]).toBe(1)
  expect(lease.signal.aborted).toBe(false)
  expect(world.unreadable).toEqual([])
})

test('a lost answer or two do not end the job', async () => {
  const { world, lease } = held()
  world.trouble(/heartbeat/, 'before')
  world.trouble(/heartbeat/, 'after')
  await until(() => world.heartbeats.length >= 2)
  expect(lease.signal.aborted).toBe(false)
})

test('a queue that does not answer does not end the job', async () => {
  const { world, lease } = held({
    hint: async () => {
      throw new Error('the queue is away')
    },
  })
  await until(() => world.heartbeats.length >= 1)
  expect(lease.signal.aborted).toBe(false)
})

test('the job is lost at once when its fence is old', async () => {
  const { world, job, lease } = held()
  world.takeAway(job)
  await until(() => lease.signal.aborted)
  expect(lease.signal.reason).toBe('lost')
  const beats = world.calls.length
  await lease.release()
  expect(world.calls).toHaveLength(beats)
})

test('the job is lost when nobody answers for a whole lease, also when the calls never end', async () => {
  const { world, lease } = held()
  world.trouble(/heartbeat/, 'before', 1000)
  await until(() => lease.signal.aborted)
  expect(lease.signal.reason).toBe('lost')

  const hanging = holdLease({
    job: 'job_x',
    fence: 1,
    leaseS: SHORT_S,
    controlPlane: {
      call: (_path, _body, _answer, signal) =>
        new Promise((resolve) => {
          signal?.addEventListener('abort', () =>
            resolve({ kind: 'unanswered', why: 'hung', retryAfterMs: undefined }),
          )
        }),
    },
    extendHint: async () => {},
    stop: new AbortController().signal,
    log: quietLog(),
  })
  await until(() => hanging.signal.aborted)
  expect(hanging.signal.reason).toBe('lost')
  await hanging.release()
})

test('an operator cancels', async () => {
  const { world, job, lease } = held()
  world.job(job).cancel = true
  await until(() => lease.signal.aborted)
  expect(lease.signal.reason).toBe('cancelled')
})

test('a builder that stops says so, before or while it holds the job; the first reason stays', async () => {
  expect(held({ stop: AbortSignal.abort() }).lease.signal.reason).toBe('stopping')
  await lease?.release()
  const stop = new AbortController()
  const { world, job, lease: second } = held({ stop: stop.signal })
  stop.abort()
  world.takeAway(job)
  expect(second.signal.reason).toBe('stopping')
  await second.release()
  expect(second.signal.reason).toBe('stopping')
})

test('a released lease neither beats nor ends', async () => {
  const { world, lease } = held()
  await lease.release()
  const beats = world.calls.length
  await sleep(SHORT_S * 1500)
  expect(world.calls).toHaveLength(beats)
  expect(lease.signal.aborted).toBe(false)
})
