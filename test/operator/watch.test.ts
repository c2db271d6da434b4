import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'
import { type OperatorWorld, operatorWorld, path, rev } from './world.ts'

let world: OperatorWorld
let clock: Date

beforeAll(async () => {
  world = await operatorWorld()
  const applied = await world.api('PUT', '/v1/fleet', {
    body: {
      environments: [{ name: 'production' }],
      flakes: [{ name: 'fleet', repo_url: 'https://git.example.com/ops/fleet', auto_poll: false }],
      systems: [{ hostname: 'web-1', environment: 'production', flake_name: 'fleet' }],
    },
  })
  expect(applied.status).toBe(200)
  await world.commits('fleet', [rev('a')])
})
afterAll(() => world.stop())
beforeEach(async () => {
  clock = new Date('2026-11-28T12:00:00Z')
  await world.rows(
    `update job set state = 'cancelled', finished_at = now() where state in ('queued', 'leased')`,
  )
})

/** Runs `cf watch`; each pause does the next step instead, so that nothing depends on how long anything takes. */
async function watching(
  steps: readonly (() => Promise<unknown>)[],
  argv: readonly string[] = [],
  answer: (url: string, request: RequestInit | undefined) => Promise<Response> = fetch,
): Promise<{ code: number; out: string[]; err: string; pauses: number[] }> {
  const out: string[] = []
  const err: string[] = []
  const pauses: number[] = []
  const left = [...steps]
  const wrong: unknown[] = []
  const console: Console = {
    env: { CF_SERVER: world.url, CF_TOKEN: world.tokens.viewer },
    home: '/nowhere',
    hostname: 'here',
    now: () => clock,
    fetch: (url, request) => answer(String(url), request),
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    sleep: async (ms) => {
      pauses.push(ms)
      clock = new Date(clock.getTime() + ms)
      const step = left.shift()
      if (step === undefined)
        throw new Error(`nothing was left to happen, and it still waits: ${out.join('\n')}`)
      await step().catch((error: unknown) => wrong.push(error))
    },
    ask: async () => null,
  }
  const code = await run(['watch', ...argv], console)
  expect(wrong).toEqual([])
  expect(left, 'every step was waited for').toEqual([])
  return { code, out: out.map((line) => line.replace(/^[0-9:]{8}Z {2}/, '')), err: err.join('\n'), pauses }
}

const nothing = async (): Promise<void> => {}
const queue = (): Promise<unknown> => world.api('POST', '/v1/flakes/fleet/poll')
const end = (state: string): Promise<unknown> =>
  world.rows(`update job set state = $1, finished_at = now() where state in ('queued', 'leased')`, [state])

test('with nothing to wait for it says how the fleet is and ends', async () => {
  expect(await watching([])).toEqual({
    code: 0,
    out: ['hosts: 1 never_seen', 'decided: 1 never_seen'],
    err: '',
    pauses: [],
  })
})

test('it tells each change once and ends when the last job has ended', async () => {
  await queue()
  const ran = await watching([
    nothing,
    async () => {
      await world.evaluate(rev('a'), 'web-1', { outPath: path('w', 'system') })
      await world.rows(
        `update job set state = 'succeeded', finished_at = now() where kind = 'resolve' and state = 'queued'`,
      )
    },
    async () => {
      await world.built(path('w', 'system'))
      await world.report('web-1', { current: path('w', 'system') })
      await end('succeeded')
    },
  ])
  expect(ran).toMatchObject({ code: 0, err: '' })
  expect(ran.out).toEqual([
    'resolve fleet  waits',
    'hosts: 1 never_seen',
    'resolve fleet  succeeded',
    'build system  waits',
    'build system  succeeded',
    'web-1  never_seen -> up_to_date: it runs what is desired',
    'hosts: 1 up_to_date',
    'decided: 1 up_to_date',
  ])
})

test('it looks less often while nothing changes, and often again when something did', async () => {
  await queue()
  const ran = await watching([
    ...Array.from({ length: 8 }, () => nothing),
    () => world.rows(`update job set attempt = 2 where state = 'queued'`),
    () => end('succeeded'),
  ])
  const quiet = ran.pauses.slice(0, 9)
  expect(quiet).toEqual([...quiet].sort((one, other) => one - other))
  expect([quiet[0], quiet.at(-1), ran.pauses.at(-1)]).toEqual([1000, 10_000, 1000])
})

test('of work that stands still it says why, once for each reason', async () => {
  await queue()
  const ran = await watching([...Array.from({ length: 30 }, () => nothing), () => end('cancelled')])
  expect(ran.out.filter((line) => line.startsWith('nothing moves'))).toEqual([
    expect.stringMatching(/^nothing moves; resolve fleet \(job_[0-9a-f]{32}\): no builder/),
  ])
})

test('a control plane that goes away is waited for, and said to be away once', async () => {
  await queue()
  let away = false
  const ran = await watching(
    [
      async () => {
        away = true
      },
      nothing,
      async () => {
        away = false
        await end('succeeded')
      },
    ],
    [],
    async (url, request) => {
      if (away) throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })
      return await fetch(url, request)
    },
  )
  expect(ran.code).toBe(0)
  expect(ran.out.filter((line) => line.includes('is away'))).toEqual([
    expect.stringContaining('asking again: '),
  ])
  expect(ran.out.at(-1)).toMatch(/^decided: /)
})

test('one that is away from the start is not waited for', async () => {
  const ran = await watching([], [], async () => {
    throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })
  })
  expect(ran).toMatchObject({ code: 5, out: [] })
})

test('--timeout gives up, says what is open and how to learn why', async () => {
  await queue()
  const ran = await watching([nothing, nothing, nothing], ['--timeout', '3s'])
  expect(ran).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^cf: gave up: 1 job is still open; cf why-waiting job_[0-9a-f]{32} says why/),
  })
  expect((await watching([], ['--timeout', 'soon'])).code).toBe(2)
})

test('--exit-code is 10 when a selected host is not up to date; filters select hosts', async () => {
  await world.commits('fleet', [rev('b')])
  await world.evaluate(rev('b'), 'web-1', { outPath: path('x', 'system') })
  await end('succeeded')
  expect((await watching([], ['--exit-code', '--flake', 'fleet'])).code).toBe(10)
  expect((await watching([], ['--exit-code', '--q', 'nobody'])).code).toBe(0)
})

test('--json is an object for each change, one a line', async () => {
  await queue()
  const ran = await watching([() => end('succeeded')], ['--json'])
  const lines = ran.out.map((line) => JSON.parse(line))
  expect(lines.map(({ kind }) => kind)).toEqual(['job', 'hosts', 'job', 'decided'])
  expect(lines[0]).toMatchObject({
    at: '2026-11-28T12:00:00.000Z',
    job: { kind: 'resolve', state: 'queued' },
  })
})
