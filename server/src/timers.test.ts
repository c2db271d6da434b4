import { expect, test } from 'vitest'
import { startTimer } from './timers.ts'

const HOUR = 3_600_000

test('work runs at once, and again by itself', async () => {
  let runs = 0
  const timer = startTimer({ everyMs: 1, work: async () => ++runs, log: () => {} })
  await expect.poll(() => runs).toBeGreaterThan(2)
  await timer.stop()
})

test('hints during a run are one more run, never a second at once', async () => {
  const work = controlled()
  const timer = startTimer({ everyMs: HOUR, work: work.run, log: () => {} })
  await expect.poll(() => work.started).toBe(1)
  timer.hint()
  timer.hint()
  timer.hint()
  expect(work.started).toBe(1)
  work.finish()
  await expect.poll(() => work.started).toBe(2)
  work.finish()
  await new Promise((resolve) => setImmediate(resolve))
  expect(work.started).toBe(2)
  expect(work.atOnceMost).toBe(1)
  await timer.stop()
})

test('a hint while it waits wakes it', async () => {
  const work = controlled()
  const timer = startTimer({ everyMs: HOUR, work: work.run, log: () => {} })
  await expect.poll(() => work.started).toBe(1)
  work.finish()
  await new Promise((resolve) => setImmediate(resolve))
  timer.hint()
  await expect.poll(() => work.started).toBe(2)
  work.finish()
  await timer.stop()
})

test('stop waits for the run under way and lets none begin', async () => {
  const work = controlled()
  const timer = startTimer({ everyMs: 1, work: work.run, log: () => {} })
  await expect.poll(() => work.started).toBe(1)
  timer.hint()
  let stopped = false
  const stopping = timer.stop().then(() => {
    stopped = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(stopped).toBe(false)
  work.finish()
  await stopping
  timer.hint()
  await new Promise((resolve) => setImmediate(resolve))
  expect(work.started).toBe(1)
})

test('a run that fails is logged and does not end the timer', async () => {
  const lines: string[] = []
  let runs = 0
  const timer = startTimer({
    everyMs: 1,
    work: async () => {
      if (++runs === 1) throw new Error('for once')
    },
    log: (level, message) => lines.push(`${level} ${message}`),
  })
  await expect.poll(() => runs).toBeGreaterThan(1)
  await timer.stop()
  expect(lines).toEqual(['warn scheduled work failed'])
})

type Controlled = {
  run(): Promise<void>
  finish(): void
  readonly started: number
  readonly atOnceMost: number
}

/** Work that ends when it is told to. */
function controlled(): Controlled {
  let started = 0
  let atOnce = 0
  let atOnceMost = 0
  let finish = (): void => {}
  return {
    async run() {
      started++
      atOnce++
      atOnceMost = Math.max(atOnceMost, atOnce)
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      atOnce--
    },
    finish: () => finish(),
    get started() {
      return started
    },
    get atOnceMost() {
      return atOnceMost
    },
  }
}
