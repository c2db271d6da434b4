import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AwsClients, awsClients, type Queue, queue } from '@crystal-forge/aws'
import { app as operatorApi } from '@crystal-forge/functions/operator-api/app.ts'
import { readConfig } from '@crystal-forge/functions/operator-api/config.ts'
import { ROUTES } from '@crystal-forge/functions/routes.ts'
import { JOB_KINDS } from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'
import { type EmbeddedAws, startEmbeddedAws } from '../../server/src/embedded-aws.ts'
import { createGateway } from '../../server/src/gateway.ts'
import { listen } from '../../server/src/listen.ts'
import { databaseEnvironment } from '../postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { addTenant, addToken } from './world.ts'

let directory: string
let database: TestDatabase
let aws: EmbeddedAws
let clients: AwsClients
let tenants: { readonly own: string; readonly other: string }
let server: string
let build: Queue
let buildDead: Queue
const closing: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-dead-letters-'))
  aws = await startEmbeddedAws({ dataDir: join(directory, 'aws'), ephemeral: true })
  clients = awsClients({ region: 'us-east-1', endpoint: { sqs: aws.endpoint, s3: aws.endpoint } })
  database = await createTestDatabase()
  tenants = { own: await addTenant(database, 'one'), other: await addTenant(database, 'two') }
  await writeFile(join(directory, 'sealing.key'), randomBytes(32).toString('base64'))
  const secret = { mode: 0o600 }
  await writeFile(join(directory, 'token'), await addToken(database, tenants.own, 'operator'), secret)
  await writeFile(join(directory, 'other'), await addToken(database, tenants.other, 'operator'), secret)
  const urls: Record<string, string> = {}
  for (const kind of JOB_KINDS) {
    const dead = await aws.ensureQueue(`${kind}-dead`)
    const redrive = { deadLetterTargetArn: aws.queueArn(`${kind}-dead`), maxReceiveCount: 5 }
    const source = await aws.ensureQueue(kind, { RedrivePolicy: JSON.stringify(redrive) })
    urls[`DLQ_URL_${kind.toUpperCase()}`] = dead
    urls[`QUEUE_URL_${kind.toUpperCase()}`] = source
    if (kind !== 'build') continue
    build = queue(clients.sqs, source)
    buildDead = queue(clients.sqs, dead)
  }
  const operators = operatorApi(
    readConfig({
      ...databaseEnvironment(database.url, 'cf_operators'),
      // As in AWS: an endpoint that takes a second connection while it holds one would never end.
      DATABASE_CONNECTIONS: '1',
      SEALING_KEY_FILE: join(directory, 'sealing.key'),
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT_URL: aws.endpoint,
      ...urls,
    }),
    { log: () => {} },
  )
  const gateway = createGateway({
    routes: ROUTES,
    handler: () => operators.handler,
    log: () => {},
    afterAnswer: () => {},
  })
  const port = await listen(gateway, { host: '127.0.0.1', port: 0, portFile: join(directory, 'port') })
  server = `http://127.0.0.1:${port}`
  closing.push(
    () => new Promise((done) => gateway.close(done)),
    () => operators.close(),
    () => aws.close(),
    () => database.drop(),
    () => rm(directory, { recursive: true }),
  )
})
afterAll(async () => {
  clients.sqs.destroy()
  clients.s3.destroy()
  for (const close of closing) await close()
})
beforeEach(async () => {
  await database.admin.query('truncate job cascade')
  for (const one of [build, buildDead])
    for (const message of await one.receive({ waitSeconds: 0 })) await one.delete([message.receipt])
})

async function cf(argv: readonly string[], token = 'token'): Promise<{ code: number; out: string }> {
  const out: string[] = []
  const console: Console = {
    env: { CF_SERVER: server, CF_TOKEN_FILE: join(directory, token) },
    home: directory,
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => out.push(line),
    sleep: async () => {},
    ask: async () => null,
  }
  return { code: await run(argv, console), out: out.join('\n') }
}

async function addJob(tenant: string, state: string): Promise<string> {
  const { rows } = await database.admin.query<{ id: string }>(
    `insert into job (tenant_id, kind, subject, state, payload, finished_at)
     values ($1, 'build', $2, $3, '{}', case when $3 = 'queued' then null else now() end) returning id`,
    [tenant, randomUUID(), state],
  )
  return rows[0]?.id ?? ''
}

function hint(job: string, attempt = 1): string {
  return JSON.stringify({ v: 1, job, kind: 'build', attempt })
}

/** Five receives without a delete, as by builders that die with it. */
async function poison(body: string): Promise<void> {
  await build.send([{ body }])
  for (let time = 0; time < 5; time++)
    expect(await build.receive({ waitSeconds: 1, visibilitySeconds: 0 })).toHaveLength(1)
}

test('a poisoned message goes to the dead-letter queue once, is shown, and goes back while its job waits', async () => {
  const job = await addJob(tenants.own, 'queued')
  await poison(hint(job))
  expect(await build.receive({ waitSeconds: 0 })).toEqual([])
  expect(await buildDead.depth()).toMatchObject({ waiting: 1 })

  const shown = await cf(['dlq', 'show'])
  expect(shown).toMatchObject({ code: 0 })
  expect(shown.out).toMatch(new RegExp(`build +\\S+ \\S+ +waiting +${job} +1 +queued`))
  // Looking takes nothing away.
  expect((await cf(['dlq', 'show', '--queue', 'build'])).out).toBe(shown.out)
  expect((await cf(['dlq', 'show', '--queue', 'scan'])).out).toBe(
    'nothing of yours is in a dead-letter queue',
  )

  expect((await cf(['dlq', 'retry'])).out).toMatch(/^1 given back to their queue/)
  expect(await buildDead.depth()).toMatchObject({ waiting: 0, inFlight: 0 })
  expect(await build.receive({ waitSeconds: 1 })).toMatchObject([{ body: hint(job), deliveries: 1 }])
  const { rows } = await database.admin.query(
    `select convert_from(body, 'UTF8')::jsonb as body from audit_event where type = 'config.changed'`,
  )
  expect(rows).toMatchObject([{ body: { change: 'dead_letters.retried', moved: 1 } }])
})

test('hints of jobs that are over are dropped, and what is no hint is thrown away only when asked', async () => {
  await buildDead.send([
    { body: hint(await addJob(tenants.own, 'succeeded')) },
    { body: hint(await addJob(tenants.own, 'queued'), 7) },
    { body: 'no hint' },
    { body: '{"v":1,"job":"a","job":"b","kind":"build","attempt":1}' },
  ])
  expect((await cf(['dlq', 'retry', '--json'])).out).toBe(
    JSON.stringify({ moved: 0, dropped: 2, discarded: 0, unreadable: 2, others: 0 }, null, 2),
  )
  const shown = (await cf(['dlq', 'show', '--json'])).out
  expect(shown).toContain('"unreadable"')
  expect(shown).not.toContain('no hint')
  expect((await cf(['dlq', 'retry', '--discard-unreadable'])).out).toMatch(/2 thrown away/)
  expect(await buildDead.depth()).toMatchObject({ waiting: 0, inFlight: 0 })
})

test('another tenant learns how many there are, and can move none of them', async () => {
  await buildDead.send([{ body: hint(await addJob(tenants.own, 'queued')) }])
  const shown = await cf(['dlq', 'show'], 'other')
  expect(shown.out).toBe('nothing of yours is in a dead-letter queue\n1 more belong to other tenants')
  expect((await cf(['dlq', 'retry', '--discard-unreadable', '--json'], 'other')).out).toBe(
    JSON.stringify({ moved: 0, dropped: 0, discarded: 0, unreadable: 0, others: 1 }, null, 2),
  )
  expect(await buildDead.depth()).toMatchObject({ waiting: 1 })
})

test('more than ten at once go back in one call', async () => {
  const bodies = await Promise.all(
    Array.from({ length: 23 }, async () => ({ body: hint(await addJob(tenants.own, 'queued')) })),
  )
  await buildDead.send(bodies)
  expect((await cf(['dlq', 'retry'])).out).toMatch(/^23 given back/)
  expect(await build.depth()).toMatchObject({ waiting: 23 })
})

test('a queue that does not exist is a mistake of the command line', async () => {
  expect((await cf(['dlq', 'show', '--queue', 'biuld'])).code).toBe(2)
  expect((await cf(['dlq', 'retry', '--queue', 'biuld'])).code).toBe(2)
})
