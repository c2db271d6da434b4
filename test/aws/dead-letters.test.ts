import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Queue, ReceivedMessage } from '@crystal-forge/aws'
import { ROUTES } from '@crystal-forge/functions/routes.ts'
import { generateKeyPair, renderCacheSecretKey } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'
import { createGateway } from '../../server/src/gateway.ts'
import { listen } from '../../server/src/listen.ts'
import { addToken } from '../operator/world.ts'
import { seedBuild } from '../pipeline/seed.ts'
import { createWorld, type Place, type World } from '../pipeline/world.ts'
import { asHandler, type Deployment, deploy, sqsEvent } from './functions.ts'
import type { Instance } from './lambda.ts'
import { openTarget, type Target } from './target.ts'

// What nobody can deal with is set aside once, is seen by its owner, and goes back. Only what a standard queue promises:
// no order, no exact depth, everything in the end.
const patience = { timeout: 30_000, interval: 100 }
let directory: string
let target: Target
let deployment: Deployment
let world: World
let place: Place
let server: string
const closing: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-dead-letters-'))
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(directory, name), content, { mode: 0o600 })
    return join(directory, name)
  }
  target = await openTarget()
  const narinfoKey = renderCacheSecretKey({ name: 'cache-1', seed: generateKeyPair().seed })
  deployment = await deploy(target, await file('narinfo.key', narinfoKey))
  world = await createWorld()
  place = {
    database: world.database,
    jobKeyFile: '/nowhere',
    sealingKeyFile: await file('seal.key', randomBytes(32).toString('base64')),
  }
  await file('token', await addToken(world.database, world.tenant, 'operator'))
  const operators = asHandler(await deployment.start('operator-api', place))
  const gateway = createGateway({
    routes: ROUTES,
    handler: () => operators,
    log: () => {},
    afterAnswer: () => {},
  })
  const port = await listen(gateway, { host: '127.0.0.1', port: 0, portFile: join(directory, 'port') })
  server = `http://127.0.0.1:${port}`
  closing.push(() => new Promise((done) => gateway.close(done)))
}, 120_000)
afterAll(async () => {
  for (const close of closing) await close()
  await deployment?.close()
  await world?.close()
  await target?.close()
  await rm(directory, { recursive: true, force: true })
})

async function cf(...argv: string[]): Promise<string> {
  const out: string[] = []
  const console: Console = {
    env: { CF_SERVER: server, CF_TOKEN_FILE: join(directory, 'token') },
    home: directory,
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => out.push(line),
    sleep: async () => {},
    ask: async () => null,
  }
  expect([await run(argv, console), out]).toEqual([0, out])
  return out.join('\n')
}

/** Takes everything off a queue, until it has been empty for a while. */
async function drained(queue: Queue): Promise<ReceivedMessage[]> {
  const all: ReceivedMessage[] = []
  for (let empty = 0; empty < 3; ) {
    const messages = await queue.receive({ waitSeconds: 1 })
    empty = messages.length === 0 ? empty + 1 : 0
    all.push(...messages)
    await queue.delete(messages.map(({ receipt }) => receipt))
  }
  return all
}

/** Builders that die with a message, again and again, until it is set aside. */
async function receiveToDeath(source: Queue, dead: Queue, count: number): Promise<void> {
  await vi.waitFor(async () => {
    await source.receive({ waitSeconds: 0, visibilitySeconds: 0 })
    const { waiting } = await dead.depth()
    expect(waiting).toBe(count)
  }, patience)
}

describe('a hint that no builder survives', () => {
  test('is set aside once, `cf dlq show` names its job, and `cf dlq retry` gives it back once', async () => {
    const { build } = deployment.queues
    const { build: dead } = deployment.deadLetters
    const { job } = await seedBuild(world, await world.addFlake('fleet'))
    const hint = JSON.stringify({ v: 1, job, kind: 'build', attempt: 1 })
    await build.send([{ body: hint }])
    await receiveToDeath(build, dead, 1)
    expect(await build.receive({ waitSeconds: 1 })).toEqual([])

    const row = new RegExp(`build +\\S+ \\S+ +waiting +${job} +1 +queued`)
    for (let time = 0; time < 2; time++) expect(await cf('dlq', 'show')).toMatch(row)
    expect(await cf('dlq', 'retry')).toMatch(/^1 given back to their queue/)
    const back = await drained(build)
    expect(back.map(({ body }) => body)).toEqual([hint])
    expect(await drained(dead)).toEqual([])
    expect(await cf('dlq', 'show')).toBe('nothing of yours is in a dead-letter queue')
  }, 120_000)

  test('is set aside once each when there are several, and what is no hint stays until somebody throws it away', async () => {
    const { scan } = deployment.queues
    const { scan: dead } = deployment.deadLetters
    const poison = [
      'no hint',
      '{"v":1,"job":',
      JSON.stringify({ v: 1, job: randomUUID(), kind: 'scan', attempt: 1 }),
    ]
    await scan.send(poison.map((body) => ({ body })))
    await receiveToDeath(scan, dead, poison.length)
    // The third is a hint of a job that nobody knows, so it may be another tenant's.
    expect(JSON.parse(await cf('dlq', 'retry', '--queue', 'scan', '--json'))).toEqual({
      moved: 0,
      dropped: 0,
      discarded: 0,
      unreadable: 2,
      others: 1,
    })
    expect(await cf('dlq', 'retry', '--queue', 'scan', '--discard-unreadable')).toMatch(/2 thrown away/)
    expect((await drained(dead)).map(({ body }) => body)).toEqual([poison[2]])
  }, 120_000)
})

describe('the wake-up queue of relay-outbox', () => {
  /** One turn of the mapping in `infra/`, which reports no single failures: a batch is one look into the outbox. */
  async function turn(source: Queue, instance: Instance): Promise<'nothing' | 'done' | 'failed'> {
    const batch = await source.receive({ waitSeconds: 1, visibilitySeconds: 1 })
    if (batch.length === 0) return 'nothing'
    try {
      await instance.invoke(sqsEvent(batch.map(({ body }) => body)))
    } catch {
      return 'failed'
    }
    await source.delete(batch.map(({ receipt }) => receipt))
    return 'done'
  }

  test('takes whatever it holds as a wake-up, and a poisoned one sets nothing aside', async () => {
    const { source, dead } = await target.make.withDeadLetters(3)
    const relay = await deployment.start('relay-outbox', place)
    await world.rows('delete from outbox')
    const { job } = await seedBuild(world, await world.addFlake('poisoned'))
    await source.send([{ body: '{"half":' }, { body: 'x'.repeat(100_000) }, { body: ' ' }])
    await vi.waitFor(async () => {
      await turn(source, relay)
      expect((await drained(deployment.queues.build)).map(({ body }) => JSON.parse(body).job)).toEqual([job])
    }, patience)
    while ((await turn(source, relay)) !== 'nothing');
    expect(await drained(dead)).toEqual([])
  }, 120_000)

  test('whose relay fails each time sets each wake-up aside once, and no hint is lost: the next look sends it', async () => {
    const { source, dead } = await target.make.withDeadLetters(2)
    await world.rows('delete from outbox')
    const { job } = await seedBuild(world, await world.addFlake('failing'))
    const broken = await deployment.start('relay-outbox', place, {
      QUEUE_URL_BUILD: `${deployment.queues.build.url}-not-there`,
    })
    await source.send([{ body: 'first' }, { body: 'second' }])
    const setAside: string[] = []
    await vi.waitFor(async () => {
      expect(['failed', 'nothing']).toContain(await turn(source, broken))
      for (const { body, receipt } of await dead.receive({ waitSeconds: 0 })) {
        setAside.push(body)
        await dead.delete([receipt])
      }
      expect(setAside).toHaveLength(2)
    }, patience)
    expect(setAside.sort()).toEqual(['first', 'second'])
    expect(await drained(source)).toEqual([])
    expect(await drained(dead)).toEqual([])

    const relay = await deployment.start('relay-outbox', place)
    expect(await relay.invoke({})).toMatchObject({ sent: 1, refused: 0 })
    expect((await drained(deployment.queues.build)).map(({ body }) => JSON.parse(body).job)).toEqual([job])
  }, 120_000)
})
