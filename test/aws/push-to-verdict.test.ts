import { createHash, createHmac } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bucket } from '@crystal-forge/aws'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import type { Role } from '@crystal-forge/functions/routes.ts'
import {
  generateKeyPair,
  jobHint,
  keyId,
  nix32OfHash,
  parseNarInfo,
  renderCacheSecretKey,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addToken } from '../operator/world.ts'
import {
  type Claimed,
  call,
  createWorld,
  evaluatedOk,
  type Place,
  rev,
  sri,
  type TestBuilder,
  type World,
} from '../pipeline/world.ts'
import { signedPost, stateBody } from '../postgres/agent-fleet.ts'
import { asHandler, type Deployment, deploy, sqsEvent } from './functions.ts'
import type { Instance } from './lambda.ts'
import { openTarget, type Target } from './target.ts'

// Every step runs in the bundle that is deployed, in a process that has nothing but the variables of its function.
let directory: string
let target: Target
let deployment: Deployment
let world: World
let place: Place
let relay: Instance
let cache: HttpHandler
let reports: HttpHandler
let operators: HttpHandler
let builder: TestBuilder
const SECRET = 'a-secret-of-16-bytes'

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-aws-chain-'))
  const narinfoKey = join(directory, 'narinfo.key')
  await writeFile(narinfoKey, renderCacheSecretKey({ name: 'cache-1', seed: generateKeyPair().seed }))
  target = await openTarget()
  deployment = await deploy(target, narinfoKey)
  world = await createWorld(async (given) => {
    place = given
    const running = async (name: 'builder-jobs' | 'webhooks') => {
      const instance = await deployment.start(name, given)
      return { handler: asHandler(instance), close: instance.stop }
    }
    return { jobs: await running('builder-jobs'), hooks: await running('webhooks') }
  })
  relay = await deployment.start('relay-outbox', place)
  cache = asHandler(await deployment.start('builder-cache', place))
  reports = asHandler(await deployment.start('agent-reports', place))
  operators = asHandler(await deployment.start('operator-api', place))
  builder = await world.addBuilder('b1')
}, 120_000)
afterAll(async () => {
  await world?.close()
  await deployment?.close()
  await target?.close()
  await rm(directory, { recursive: true, force: true })
})

async function ask(path: string, role: Role = 'viewer'): Promise<Record<string, unknown>> {
  const token = await addToken(world.database, world.tenant, role)
  const answer = await call(operators, {
    route: `GET ${path.replace(/\/systems\/[^/]+/, '/systems/{system}')}`,
    path,
    body: Buffer.alloc(0),
    headers: { authorization: `Bearer ${token}` },
    parameters: { system: 'web-1' },
  })
  expect(answer.status).toBe(200)
  return answer.body
}

/** What a builder does: takes a hint off its queue, claims the job that it names, and deletes the hint. */
async function next(kind: 'resolve' | 'evaluate' | 'build' | 'scan'): Promise<Claimed> {
  const wake = await deployment.relayQueue.receive({ waitSeconds: 2 })
  await deployment.relayQueue.delete(wake.map(({ receipt }) => receipt))
  // The mapping of the wake-up queue starts the relay with what came; the schedule would start it too.
  await relay.invoke(sqsEvent(wake.map(({ body }) => body)))
  const [message] = await deployment.queues[kind].receive({ max: 1, waitSeconds: 20 })
  const hint = jobHint.parse(JSON.parse(message?.body ?? ''))
  const claimed = await builder.claim([kind], { job: hint.job, attempt: hint.attempt })
  if (claimed === null || message === undefined) throw new Error(`the ${kind} job was not given`)
  await deployment.queues[kind].delete([message.receipt])
  return claimed
}

async function push(word: string): Promise<unknown> {
  const hook = await world.addHook(flake, 'github', SECRET)
  const body = Buffer.from(
    JSON.stringify({
      ref: 'refs/heads/main',
      after: rev(word),
      repository: { clone_url: 'https://git.example.com/acme/fleet.git' },
    }),
  )
  return call(world.hooks, {
    route: 'POST /v1/hooks/{hook}',
    path: `/v1/hooks/${hook}`,
    body,
    parameters: { hook },
    headers: {
      'content-type': 'application/json',
      'x-github-event': 'push',
      'x-github-delivery': word,
      'x-hub-signature-256': `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`,
    },
  })
}

let flake: string

test('a push becomes a verdict', async () => {
  flake = await world.addFlake('fleet')
  await world.addSystem('web-1', flake, 'web-1')
  expect(await push('c1')).toMatchObject({ status: 202, body: { accepted: true } })

  const resolve = await next('resolve')
  const commits = [{ rev: rev('c1'), committed_at: '2026-01-01T10:00:00Z', subject: 'first' }]
  const succeeded = { kind: 'resolve', commits, head: rev('c1'), continues: true }
  expect(await builder.result(resolve, { outcome: 'succeeded', succeeded })).toMatchObject({ status: 200 })

  const evaluate = await next('evaluate')
  expect(await builder.evaluations(evaluate, [evaluatedOk('web-1')])).toMatchObject({ status: 200 })
  await builder.result(evaluate, {
    outcome: 'succeeded',
    succeeded: { kind: 'evaluate', configurations: 1, failed: 0 },
  })

  const build = await next('build')
  const { work } = build.document
  if (work.kind !== 'build') throw new Error('not a build')
  const nar = Buffer.from('the compressed NAR')
  const fileHash = `sha256-${createHash('sha256').update(nar).digest('base64')}`
  const url = `nar/${nix32OfHash(fileHash).slice(7)}.nar.zst`
  const path = {
    path: work.out_path,
    nar_hash: sri(work.out_path),
    nar_size: 100,
    references: [],
    deriver: null,
    ca: null,
    url,
    compression: 'zstd',
    file_hash: fileHash,
    file_size: nar.length,
  }
  const objects = bucket(target.clients.s3, deployment.bucket)
  await objects.putIfAbsent(`${world.tenant}/${url}`, nar)
  const commit = { v: 1, job: build.job, fence: build.fence, paths: [path], toplevel: work.out_path }
  const committed = await builder.send(cache, 'POST /v1/builder/cache/commit', commit)
  expect(committed).toMatchObject({ status: 200, body: { published: 1 } })
  const { sha256 } = committed.body['closure'] as { sha256: string }
  await builder.result(build, builder.built(build, { closure: sha256 }))
  const narinfo = await objects.getBytes(`${world.tenant}/${work.out_path.slice(11, 43)}.narinfo`, 4096)
  expect(parseNarInfo(Buffer.from(narinfo ?? []).toString())).toMatchObject({ storePath: work.out_path, url })

  const host = await key('web-1')
  const before = stateBody('web-1')
  expect(await reportOf(host, before)).toMatchObject({ status: 202 })
  expect((await ask('/v1/systems/web-1'))['drift']).toMatchObject({ verdict: 'unattributed' })
  const after = stateBody('web-1', { store_path: work.out_path, booted_path: work.out_path })
  expect(await reportOf(host, after)).toMatchObject({ status: 202 })
  expect((await ask('/v1/systems/web-1'))['drift']).toMatchObject({ verdict: 'up_to_date' })
}, 120_000)

type Host = Parameters<typeof signedPost>[0]

async function key(hostname: string): Promise<Host> {
  const pair = generateKeyPair()
  await world.rows(
    `insert into system_key (key_id, tenant_id, system_id, hostname, public_key)
     select $1, tenant_id, id, hostname, $2 from system where hostname = $3`,
    [keyId(pair.publicKey), Buffer.from(pair.publicKey), hostname],
  )
  return pair
}

async function reportOf(host: Host, body: object): Promise<{ status: number | undefined; body: unknown }> {
  const { statusCode, body: text = '' } = await reports(signedPost(host, '/v1/agent/reports', body), CONTEXT)
  return { status: statusCode, body: JSON.parse(text) }
}

// The instance makes its own.
const CONTEXT = {} as Parameters<HttpHandler>[1]
