import { setTimeout as sleep } from 'node:timers/promises'
import type { JobPayload } from '@crystal-forge/protocol'
import { expect, test } from 'vitest'
import { type StandIn, standIn } from '../test/control-plane-stand-in.ts'
import { type MemoryHints, memoryHints } from '../test/memory-hints.ts'
import { quietLog } from '../test/quiet-log.ts'
import { type Claimed, runWorkLoop, type WorkLoop } from './work-loop.ts'

const WORK: JobPayload = {
  kind: 'scan',
  derivation: 'd_1',
  drv_path: `/nix/store/${'0'.repeat(32)}-x.drv`,
  out_path: `/nix/store/${'0'.repeat(32)}-x`,
}

type Running = {
  readonly world: StandIn
  readonly queue: MemoryHints
  readonly log: ReturnType<typeof quietLog>
  readonly worked: string[]
  stop(): Promise<void>
}

function running(
  prepare: (world: StandIn, queue: MemoryHints) => void,
  changes: Partial<WorkLoop> = {},
): Running {
  const world = standIn()
  const queue = memoryHints()
  const log = quietLog()
  const worked: string[] = []
  const stop = new AbortController()
  prepare(world, queue)
  const ended = runWorkLoop({
    kind: 'scan',
    lanes: 1,
    queue,
    controlPlane: world.plane,
    stop: stop.signal,
    log,
    work: async (claimed, hint) => {
      worked.push(claimed.job)
      finish(world, claimed)
      await hint?.delete()
    },
    ...changes,
  })
  return {
    world,
    queue,
    log,
    worked,
    async stop() {
      stop.abort()
      await ended
    },
  }
}

function finish(world: StandIn, { job }: Claimed): void {
  world.job(job).state = 'finished'
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

test('a hinted job is claimed by its name, done, and the hint removed', async () => {
  let job = ''
  const loop = running((world, queue) => {
    world.add(WORK)
    job = world.add(WORK)
    queue.put({ v: 1, job, kind: 'scan', attempt: 1 })
  })
  await until(() => loop.worked.length > 0)
  await loop.stop()
  expect(loop.worked[0]).toBe(job)
  expect(loop.queue.messages.size).toBe(0)
})

test('a job whose hint was lost is found all the same', async () => {
  const loop = running((world) => void world.add(WORK))
  await until(() => loop.worked.length === 1)
  await loop.stop()
})

test('a hint that comes twice, late or for nobody is removed and nothing is done twice', async () => {
  const loop = running((world, queue) => {
    const job = world.add(WORK)
    for (const named of [job, job, 'job_of_nobody']) queue.put({ v: 1, job: named, kind: 'scan', attempt: 1 })
  })
  await until(() => loop.queue.messages.size === 0)
  await loop.stop()
  expect(loop.worked).toHaveLength(1)
  expect(loop.world.doubles).toEqual([])
})

test('several lanes share the jobs, each once', async () => {
  const loop = running(
    (world, queue) => {
      for (let count = 0; count < 20; count++) {
        const job = world.add(WORK)
        queue.put({ v: 1, job, kind: 'scan', attempt: 1 })
        queue.put({ v: 1, job, kind: 'scan', attempt: 1 })
      }
    },
    { lanes: 3 },
  )
  await until(() => loop.queue.messages.size === 0)
  await loop.stop()
  expect(new Set(loop.worked).size).toBe(20)
  expect(loop.worked).toHaveLength(20)
})

test.each(['', 'not json', '{"v":2}', '[]', '{"v":1,"job":"x","kind":"rm","attempt":1}'])(
  'the message %j is removed, said, and the next one is taken',
  async (poison) => {
    const loop = running((world, queue) => {
      queue.put(poison)
      queue.put({ v: 1, job: world.add(WORK), kind: 'scan', attempt: 1 })
    })
    await until(() => loop.worked.length === 1)
    await loop.stop()
    expect(loop.queue.messages.size).toBe(0)
    expect(loop.log.said.map(({ message }) => message)).toContain(
      'a message that is no hint was removed from the queue',
    )
  },
)

test('a hint that arrives while the builder stops is given back, and no job is claimed', async () => {
  const stop = new AbortController()
  const loop = running(
    (world, queue) => queue.put({ v: 1, job: world.add(WORK), kind: 'scan', attempt: 1 }),
    {
      stop: stop.signal,
      queue: {
        async receive() {
          stop.abort()
          return { body: '{}', delete: async () => {}, hide: async (seconds) => void given.push(seconds) }
        },
      },
    },
  )
  const given: number[] = []
  await loop.stop()
  expect(given).toEqual([0])
  expect(loop.world.calls).toEqual([])
})

test('a control plane that is away gets the hint back in a while and the job is done later', async () => {
  const loop = running((world, queue) => {
    queue.put({ v: 1, job: world.add(WORK), kind: 'scan', attempt: 1 })
    world.trouble(/claims/, 'before')
  })
  await until(() => loop.worked.length === 1)
  await loop.stop()
  expect(loop.queue.told[0]).toBeGreaterThan(0)
})

test('a queue that is away does not stop the work', async () => {
  const loop = running((world, queue) => {
    world.add(WORK)
    queue.breakOnce()
  })
  await until(() => loop.worked.length === 1)
  await loop.stop()
})

test('while there is an obstacle nothing is received or claimed', async () => {
  let asked = 0
  const loop = running(
    (world, queue) => queue.put({ v: 1, job: world.add(WORK), kind: 'scan', attempt: 1 }),
    {
      obstacle: async () => {
        asked += 1
        return 'the disk is full'
      },
    },
  )
  await until(() => asked > 0)
  await loop.stop()
  expect(loop.world.calls).toEqual([])
  expect(loop.queue.messages.size).toBe(1)
})
