import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, renderCacheSecretKey, renderSeed } from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { addToken } from '../operator/world.ts'
import type { Place } from '../pipeline/world.ts'
import { type FleetHost, makeTenant, post, signedPost, stateBody } from '../postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { type Deployment, deploy, sqsEvent } from './functions.ts'
import type { Instance } from './lambda.ts'
import { openTarget, type Target } from './target.ts'

let directory: string
let target: Target
let database: TestDatabase
let deployment: Deployment
let place: Place
let hosts: readonly FleetHost[]
let tenant: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-lambda-'))
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(directory, name), content)
    return join(directory, name)
  }
  database = await createTestDatabase()
  place = {
    database,
    jobKeyFile: await file('job.key', renderSeed(generateKeyPair().seed)),
    sealingKeyFile: await file('seal.key', randomBytes(32).toString('base64')),
  }
  target = await openTarget()
  const narinfoKey = renderCacheSecretKey({ name: 'cache-1', seed: generateKeyPair().seed })
  deployment = await deploy(target, await file('narinfo.key', narinfoKey))
  ;({ tenant, hosts } = await makeTenant(database.admin, 'acme', ['web-1', 'web-2', 'web-3', 'web-4']))
}, 120_000)
afterAll(async () => {
  await deployment?.close()
  await target?.close()
  await database?.drop()
  await rm(directory, { recursive: true, force: true })
})

type Answer = { statusCode: number; body: string; code: string | undefined }

async function invoke(instance: Instance, event: unknown, timeoutMs = 30_000): Promise<Answer> {
  const answer = (await instance.invoke(event, { timeoutMs })) as { statusCode: number; body: string }
  const parsed: unknown = answer.body === '' ? {} : JSON.parse(answer.body)
  const code = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, 'code') : undefined
  return {
    statusCode: answer.statusCode,
    body: answer.body,
    code: code === undefined ? undefined : String(code),
  }
}

function report(at: number): APIGatewayProxyEventV2 {
  const host = hosts[at]
  if (host === undefined) throw new Error('no such host')
  return signedPost(host, '/v1/agent/reports', stateBody(host.hostname))
}

async function stored(at: number): Promise<number> {
  const { rows } = await database.admin.query<{ count: number }>(
    'select count(*) from system_state where system_id = $1',
    [hosts[at]?.system],
  )
  return rows[0]?.count ?? 0
}

/** Backends of a function, by its application name. */
async function backends(name: string): Promise<number[]> {
  const { rows } = await database.admin.query<{ pid: number }>(
    'select pid from pg_stat_activity where datname = current_database() and application_name = $1',
    [name],
  )
  return rows.map(({ pid }) => pid)
}

describe('an instance', () => {
  test('opens one connection and keeps it from one event to the next', async () => {
    const instance = await deployment.start('agent-reports', place)
    expect(await backends('agent-reports')).toEqual([])
    for (let time = 0; time < 3; time++)
      expect(await invoke(instance, report(0))).toMatchObject({ statusCode: 202 })
    expect(await backends('agent-reports')).toHaveLength(1)
    await instance.stop()
  })

  test('whose connection was cut while it was frozen, as by a failover, answers or fails cleanly, then recovers', async () => {
    const instance = await deployment.start('agent-reports', place)
    expect(await invoke(instance, report(1))).toMatchObject({ statusCode: 202 })
    const before = await stored(1)
    for (const pid of await backends('agent-reports'))
      await database.admin.query('select pg_terminate_backend($1)', [pid])
    await vi.waitFor(async () => expect(await backends('agent-reports')).toEqual([]))

    const next = await invoke(instance, report(1))
    expect([202, 500]).toContain(next.statusCode)
    expect(await stored(1)).toBe(next.statusCode === 202 ? before + 1 : before)
    const after = await stored(1)
    expect(await invoke(instance, report(1))).toMatchObject({ statusCode: 202 })
    expect(await stored(1)).toBe(after + 1)
    await instance.stop()
  })

  test('while the database takes no connections says 500 with a request id, and recovers by itself', async () => {
    const instance = await deployment.start('agent-reports', place)
    await database.admin.query('alter role cf_ingest connection limit 0')
    try {
      const refused = await invoke(instance, report(2))
      expect(refused).toMatchObject({ statusCode: 500, code: 'internal' })
      expect(refused.body).not.toMatch(/cf_ingest|connection/)
    } finally {
      await database.admin.query('alter role cf_ingest connection limit -1')
    }
    expect(await invoke(instance, report(2))).toMatchObject({ statusCode: 202 })
    expect(await stored(2)).toBe(1)
    await instance.stop()
  })

  test('that is killed at its timeout while its statement waits leaves the whole report or none of it', async () => {
    const instance = await deployment.start('agent-reports', place)
    const blocker = await database.admin.connect()
    try {
      await blocker.query('begin')
      await blocker.query('lock table system_state in access exclusive mode')
      await expect(invoke(instance, report(3), 2000)).rejects.toThrow(/ended/)
    } finally {
      await blocker.query('rollback')
      blocker.release()
    }
    // Postgres notices the lost client when its statement ends.
    await vi.waitFor(async () => expect(await backends('agent-reports')).toEqual([]), { timeout: 30_000 })
    const left = await stored(3)
    const { rows } = await database.admin.query<{ events: number; states: number }>(
      `select (select count(*) from audit_event where tenant_id = $1 and type = 'agent.report') as events,
              (select count(*) from system_state where tenant_id = $1) as states`,
      [tenant],
    )
    // Whole or not at all: a state without its event, or the other way round, would be half.
    expect(rows[0]?.events).toBe(rows[0]?.states)
    const another = await deployment.start('agent-reports', place)
    expect(await invoke(another, report(3))).toMatchObject({ statusCode: 202 })
    expect(await stored(3)).toBe(left + 1)
    await another.stop()
  })

  test('that is killed between two statements of a transaction leaves none of them', async () => {
    const instance = await deployment.start('operator-api', place)
    const request = operatorPost('/v1/flakes', await addToken(database, tenant, 'operator'), {
      name: 'half',
      repo_url: 'https://git.example.com/ops/half',
    })
    const flakesCalledHalf = `select name from flake where name = 'half'`
    const blocker = await database.admin.connect()
    try {
      await blocker.query('begin')
      // The flake is written before the event about it, which has to wait for this.
      await blocker.query('lock table audit_event in access exclusive mode')
      await expect(invoke(instance, request, 2000)).rejects.toThrow(/ended/)
    } finally {
      await blocker.query('rollback')
      blocker.release()
    }
    await vi.waitFor(async () => expect(await backends('operator-api')).toEqual([]), { timeout: 30_000 })
    expect((await database.admin.query(flakesCalledHalf)).rows).toEqual([])
    const another = await deployment.start('operator-api', place)
    expect((await invoke(another, request)).statusCode).toBe(201)
    expect((await database.admin.query(flakesCalledHalf)).rows).toHaveLength(1)
    await another.stop()
  })

  test('behind a proxy prepares no named statement, which would pin its connection', async () => {
    const instance = await deployment.start('agent-reports', place, { DATABASE_PROXY: '1' })
    expect(await invoke(instance, report(0))).toMatchObject({ statusCode: 202 })
    expect(await invoke(instance, report(0))).toMatchObject({ statusCode: 202 })
    await instance.stop()
  })

  test('has no settings but its own variables, and without one of them does not start and says which', async () => {
    await expect(deployment.start('agent-reports', place, { DATABASE_HOST: '' })).rejects.toThrow(
      'configuration: DATABASE_HOST is not set',
    )
    await expect(
      deployment.start('relay-outbox', place, { QUEUE_URL_SCAN: '', AWS_REGION: '' }),
    ).rejects.toThrow(/AWS_REGION is not set.*QUEUE_URL_SCAN is not set/)
    await expect(deployment.start('builder-cache', place, { NARINFO_KEY_FILE: '/nowhere' })).rejects.toThrow(
      '/nowhere',
    )
  })
})

describe('an event of API Gateway', () => {
  let instance: Instance
  beforeAll(async () => {
    instance = await deployment.start('agent-reports', place)
  })
  const staged = (event: APIGatewayProxyEventV2, stage: string): APIGatewayProxyEventV2 => ({
    ...event,
    rawPath: `/${stage}${event.rawPath}`,
    requestContext: { ...event.requestContext, stage },
  })

  test('is the same request with a stage in front of its path and without', async () => {
    expect(await invoke(instance, report(0))).toMatchObject({ statusCode: 202 })
    expect(await invoke(instance, staged(report(0), 'prod'))).toMatchObject({ statusCode: 202 })
    expect(await invoke(instance, staged(report(0), 'v1'))).toMatchObject({ statusCode: 202 })
  })

  test('may carry its body as text or as base64', async () => {
    const event = report(0)
    const text = Buffer.from(event.body ?? '', 'base64').toString()
    expect(await invoke(instance, { ...event, body: text, isBase64Encoded: false })).toMatchObject({
      statusCode: 202,
    })
  })

  test.each([
    ['signature twice', (headers: Record<string, string>) => twice(headers, 'signature')],
    ['signature-input twice', (headers: Record<string, string>) => twice(headers, 'signature-input')],
    ['content-digest twice', (headers: Record<string, string>) => twice(headers, 'content-digest')],
    ['host twice', (headers: Record<string, string>) => twice(headers, 'host')],
    ['no headers', () => ({})],
  ])('with %s, as a comma-joined value, is refused and not understood in some way', async (_, change) => {
    const event = report(0)
    const before = await stored(0)
    const headers = change(Object.fromEntries(Object.entries(event.headers).map(([k, v]) => [k, v ?? ''])))
    const { statusCode } = await invoke(instance, { ...event, headers })
    expect(statusCode).toBeGreaterThanOrEqual(400)
    expect(statusCode).toBeLessThan(500)
    expect(await stored(0)).toBe(before)
  })

  test('that was signed for another path than the one it comes on is refused', async () => {
    const event = report(0)
    const moved = { ...event, rawPath: '/v1/agent/keys' }
    expect((await invoke(instance, moved)).statusCode).toBe(401)
  })
})

describe('relay-outbox', () => {
  test('takes a batch of wake-ups as one look, and fails the batch as a whole when a queue is gone', async () => {
    const instance = await deployment.start('relay-outbox', place)
    const batch = sqsEvent(['look into the outbox', 'look into the outbox', 'anything'])
    // What other tests left.
    await instance.invoke(batch)
    await queueJob()
    expect(await instance.invoke(batch)).toEqual({ sent: 1, refused: 0 })
    expect(await instance.invoke(batch)).toEqual({ sent: 0, refused: 0 })
    await instance.stop()

    await queueJob()
    const lost = { QUEUE_URL_RESOLVE: `${deployment.queues.resolve.url}-not-there` }
    const broken = await deployment.start('relay-outbox', place, lost)
    await expect(broken.invoke(batch)).rejects.toThrow(/exist/)
    await broken.stop()
    const again = await deployment.start('relay-outbox', place)
    expect(await again.invoke(batch)).toEqual({ sent: 1, refused: 0 })
    expect(again.log()).toContain('"sent"')
    await again.stop()
  })
})

function operatorPost(path: string, token: string, body: object): APIGatewayProxyEventV2 {
  return post(path, { authorization: `Bearer ${token}` }, Buffer.from(JSON.stringify(body)))
}

let flakes = 0

async function queueJob(): Promise<void> {
  const client = await database.admin.connect()
  try {
    const { rows } = await client.query<{ id: string }>(
      `insert into flake (tenant_id, name, repository_url, source) values ($1, $2, 'https://git.example.com/a/b', $3) returning id`,
      [
        tenant,
        `flake-${flakes++}`,
        { kind: 'forge', via: 'https', host: 'git.example.com', owner: 'a', repo: 'b' },
      ],
    )
    await client.query(`select set_config('cf.tenant', $1, false)`, [tenant])
    await client.query(`select enqueue_job('resolve', $1, '{}', 0)`, [rows[0]?.id])
    await client.query(`select set_config('cf.tenant', '', false)`)
  } finally {
    client.release()
  }
}

function twice(headers: Record<string, string>, name: string): Record<string, string> {
  return { ...headers, [name]: `${headers[name]},${headers[name]}` }
}
