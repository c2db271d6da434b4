import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterEach, expect, it } from 'vitest'
import { type Demo, logTail, removeDirectory, startDemo } from '../demo/demo.ts'
import type { Stage } from '../demo/stages.ts'
import { tellStory } from '../demo/story.ts'
import { audit } from './audit-demo.ts'
import { type Crossing, type Moment, openCrossing, type Passing } from './crossing.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let demo: Demo | undefined
let directory = ''
const crossings: Crossing[] = []
let secondPush = false

afterEach(async (context) => {
  await demo?.stop()
  await Promise.all(crossings.map((crossing) => crossing.close()))
  if (context.task.result?.state === 'fail')
    for (const name of ['server', 'builder-agent', 'host-agent-web-1'])
      process.stderr.write(`--- ${name}\n${await logTail({ directory }, name)}\n`)
  await removeDirectory(directory)
}, 60_000)

/**
 * Where a death hurts most. Each is a request that every run makes, so none depends on how fast the machine is: the program
 * dies with the request in hand, which either never arrived or took effect unheard. No job is in hand at more than four of them,
 * because the fifth time would be its verdict.
 */
const MOMENTS: readonly Moment[] = [
  {
    name: 'the server, while a commit is evaluated',
    is: ({ path }) => path.endsWith('/evaluations'),
    when: 'before',
    strike: () => demo?.server.kill(),
  },
  {
    name: 'the builder, between two evaluations that were recorded',
    is: ({ path }) => path.endsWith('/evaluations'),
    when: 'after',
    strike: () => demo?.builder.kill(),
  },
  {
    name: 'the server, while a closure is uploaded',
    is: ({ method, path }) => method === 'PUT' && path.includes('/nar/'),
    when: 'before',
    strike: () => demo?.server.kill(),
  },
  {
    name: 'the builder, after an upload that it did not hear of',
    is: ({ method, path }) => method === 'PUT' && path.includes('/nar/'),
    when: 'after',
    strike: () => demo?.builder.kill(),
  },
  {
    name: 'the builder, with the closure committed and the result not sent',
    is: (passing) => isBuilt(passing),
    when: 'before',
    strike: () => demo?.builder.kill(),
  },
  {
    name: 'the builder, with the result recorded and its answer unheard',
    is: (passing) => isBuilt(passing),
    when: 'after',
    strike: () => demo?.builder.kill(),
  },
  {
    name: 'an agent, between spool and send',
    is: (passing) => isSwitch(passing, 'web-1'),
    when: 'before',
    strike: () => demo?.agents.get('web-1')?.kill(),
  },
  {
    name: 'an agent, with its report recorded and the answer unheard',
    is: (passing) => isSwitch(passing, 'web-2'),
    when: 'after',
    strike: () => demo?.agents.get('web-2')?.kill(),
  },
]

function isBuilt({ path, body }: Passing): boolean {
  return (
    secondPush && path.endsWith('/result') && body.includes('"kind":"build"') && body.includes('"succeeded"')
  )
}

function isSwitch({ path, body }: Passing, host: string): boolean {
  return (
    path === '/v1/agent/reports' &&
    body.includes(`"${host}"`) &&
    body.includes('"change_reason":"config_change"')
  )
}

it('ends in the same verdicts wherever server, builder and agents are killed, and counts everything once', async () => {
  directory = await mkdtemp(join(tmpdir(), 'crystal-forge-test-'))
  const salt = `3.0.13-${directory.slice(-6).toLowerCase()}`
  const struck = new Map<string, Passing>()
  const cross = async (target: string): Promise<string> => {
    const crossing = await openCrossing(target, MOMENTS, ({ name }, passing) => struck.set(name, passing))
    crossings.push(crossing)
    return crossing.url
  }
  const reporter = {
    say: () => {},
    reached: async (stage: Stage) => {
      secondPush ||= stage === 'hosts up to date'
    },
  }
  const options = { directory, reporter, node: process.execPath, root, salt, cross }
  const running = await startDemo(options)
  demo = running
  const stopHurrying = hurry(running)
  await tellStory(running, reporter).catch(async (error: unknown) => {
    await stopHurrying()
    throw error
  })
  expect(await stopHurrying(), 'rounds in which pauses were ended').toBeGreaterThan(0)

  expect([...struck.keys()].sort()).toEqual(MOMENTS.map(({ name }) => name).sort())
  // Two requests may be on their way when the first of them is struck, so that one death serves both.
  expect(running.server.restarts()).toBeGreaterThanOrEqual(1)
  expect(running.server.restarts()).toBeLessThanOrEqual(2)
  expect(running.builder.restarts()).toBeGreaterThanOrEqual(2)
  expect(running.builder.restarts()).toBeLessThanOrEqual(4)
  await audit(running)
  for (const host of ['web-1', 'web-2']) {
    const [, passing] = [...struck].find(([, one]) => isSwitch(one, host)) ?? []
    const { report_id: id } = JSON.parse(passing?.body ?? '{}')
    const states = await running.controlPlane.list<{ report_id: string }>(`/v1/systems/${host}/states`)
    expect(
      states.filter(({ report_id }) => report_id === id),
      `${host} ${id}`,
    ).toHaveLength(1)
  }
}, 400_000)

/** Time passes: the pauses before the retries of killed jobs, which take minutes, are over at once. */
function hurry({ directory: at }: Demo): () => Promise<number> {
  let rounds = 0
  const stop = new AbortController()
  const round = async (): Promise<void> => {
    const { databaseUrl } = JSON.parse(await readFile(join(at, 'data/server.json'), 'utf8'))
    const url = new URL(databaseUrl)
    url.password = (await readFile(join(at, 'data/secrets/database-superuser-password'), 'utf8')).trim()
    const client = new pg.Client({ connectionString: url.href })
    client.on('error', () => {})
    await client.connect()
    try {
      await client.query(`update job set not_before = now() where state = 'queued' and not_before > now()`)
      await client.query('update outbox set not_before = now() where not_before > now()')
      rounds += 1
    } finally {
      await client.end()
    }
  }
  const going = (async () => {
    while (!stop.signal.aborted) {
      // The database is away now and then, with the server that keeps it.
      await round().catch(() => {})
      await sleep(500, undefined, { signal: stop.signal }).catch(() => {})
    }
  })()
  return async () => {
    stop.abort()
    await going
    return rounds
  }
}
