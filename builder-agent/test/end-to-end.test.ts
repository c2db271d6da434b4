import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { awsClients, queue } from '@crystal-forge/aws'
import { app as builderCache } from '@crystal-forge/functions/builder-cache/app.ts'
import { readConfig as readBuilderCache } from '@crystal-forge/functions/builder-cache/config.ts'
import { app as builderJobs } from '@crystal-forge/functions/builder-jobs/app.ts'
import { readConfig as readBuilderJobs } from '@crystal-forge/functions/builder-jobs/config.ts'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import { relayOutbox } from '@crystal-forge/functions/relay-outbox/relay.ts'
import { ROUTES } from '@crystal-forge/functions/routes.ts'
import { sweep } from '@crystal-forge/functions/sweep/sweep.ts'
import { findStore } from '@crystal-forge/nix-cli'
import {
  generateKeyPair,
  publicKeyOfSeed,
  renderCacheSecretKey,
  renderPublicKey,
  renderSeed,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type EmbeddedAws, startEmbeddedAws } from '../../server/src/embedded-aws.ts'
import { createGateway } from '../../server/src/gateway.ts'
import { type FleetRepository, fleetRepository } from '../../test/fixtures/fleet/repository.ts'
import { createWorld, type TestBuilder, type World } from '../../test/pipeline/world.ts'

const KINDS = ['resolve', 'evaluate', 'build', 'scan'] as const
const store = await findStore({ uid: process.getuid?.() ?? -1 })

let directory: string
let world: World
let aws: EmbeddedAws
let gateway: Server
let builder: TestBuilder
let fleet: FleetRepository
let agent: ChildProcess | undefined
let log = ''
const cleanUp: (() => Promise<unknown>)[] = []

describe.skipIf(store.kind === 'none')('a builder process with the real functions', () => {
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cf-builder-'))
    cleanUp.push(() => rm(directory, { recursive: true, force: true }))
    world = await createWorld()
    cleanUp.push(() => world.close())
    aws = await startEmbeddedAws({ dataDir: join(directory, 'aws'), ephemeral: true })
    cleanUp.push(() => aws.close())
    await aws.ensureBucket('cache')
    gateway = await functions()
    builder = await world.addBuilder('b1')
    fleet = fleetRepository(join(directory, 'fleet'))
    await writeFile(join(directory, 'builder.key'), `${renderSeed(builder.seed)}\n`, { mode: 0o600 })
  }, 120_000)
  afterAll(async () => {
    agent?.kill('SIGKILL')
    for (let step = cleanUp.pop(); step !== undefined; step = cleanUp.pop()) await step()
  }, 60_000)

  test('goes from a branch to attested builds, although it is killed in the middle', {
    timeout: 180_000,
  }, async () => {
    const flake = await world.addFlake('fleet', { source: { kind: 'local', path: fleet.path } })
    for (const host of ['web-1', 'web-2', 'db-1', 'broken-build', 'broken-eval'])
      await world.addSystem(host, flake, host)
    await world.queue('resolve', flake)
    start()
    await until(async () => (await jobs('build', 'leased')) > 0)
    await kill()
    start()
    await until(async () => (await unfinished()) === 0)
    agent?.kill('SIGTERM')
    await until(async () => agent?.exitCode !== null)
    expect(agent?.exitCode, log).toBe(0)

    const evaluations = await world.rows(
      `select c.name, e.state, e.error as message from evaluation e join configuration c on c.id = e.configuration_id order by c.name`,
    )
    expect(evaluations.map(({ name, state }) => `${String(name)} ${String(state)}`)).toEqual([
      'broken-build ok',
      'broken-eval error',
      'db-1 ok',
      'legacy-1 ok',
      'web-1 ok',
      'web-2 ok',
    ])
    expect(evaluations[1]?.['message']).toContain("The option `services.ngnix.enable' does not exist")
    const failures = await world.rows(
      `select failure_class, failure_message from job where kind = 'build' and state = 'failed'`,
    )
    expect(failures).toHaveLength(1)
    expect(failures[0]).toMatchObject({
      failure_class: 'build',
      failure_message: expect.stringContaining('implicit declaration of function'),
    })
    expect(await jobs('build', 'succeeded')).toBeGreaterThanOrEqual(3)
    expect(
      await count(`select count(*) from audit_event where type = 'build.attested'`),
    ).toBeGreaterThanOrEqual(3)
  })

  test('a second builder on the same state directory is refused, a wrong key file is an error of the configuration', {
    timeout: 60_000,
  }, async () => {
    start()
    await until(async () => log.includes('builder takes jobs'))
    const second = await finished('run', {})
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/another builder runs on/) })
    const wrong = await finished('--check-config', {
      CRYSTAL_FORGE__BUILDER__PRIVATE_KEY: join(directory, 'none'),
    })
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^builder\.private_key: .*cannot be read/),
    })
    const right = await finished('--check-config', {})
    expect(right).toMatchObject({ code: 0, stdout: expect.stringMatching(/the configuration is valid\n$/) })
    expect(right.stdout).toContain(builder.keyId)
    await kill()
  })
})

/** The functions that builders talk to, the relay and the sweep, as a control plane runs them. */
async function functions(): Promise<Server> {
  const handlers = new Map<string, HttpHandler>()
  const server = createGateway({
    routes: ROUTES,
    handler: (name) => handlers.get(name),
    log: () => {},
    afterAnswer: () => {},
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanUp.push(async () => {
    server.closeAllConnections()
    server.close()
  })
  const urls = new Map<string, string>()
  for (const kind of KINDS) urls.set(kind, await aws.ensureQueue(`cf-${kind}`))
  await writeFile(join(directory, 'job.key'), renderSeed(world.signingKey))
  await writeFile(
    join(directory, 'narinfo.key'),
    renderCacheSecretKey({ name: 'cache-1', seed: generateKeyPair().seed }),
  )
  const environment = {
    DATABASE_HOST: '127.0.0.1',
    DATABASE_NAME: 'set below',
    DATABASE_USER: 'set below',
    DATABASE_AUTH: 'trust',
    PUBLIC_AUTHORITY: authorityOf(server),
    CACHE_BUCKET: 'cache',
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: aws.endpoint,
    LEASE_S: '3',
    JOB_SIGNING_KEY_FILE: join(directory, 'job.key'),
    NARINFO_KEY_FILE: join(directory, 'narinfo.key'),
    ...Object.fromEntries([...urls].map(([kind, url]) => [`QUEUE_URL_${kind.toUpperCase()}`, url])),
  }
  const quiet = { log: () => {} }
  const jobsApp = builderJobs(
    { ...readBuilderJobs(environment), database: world.databaseConfig('cf_builders') },
    quiet,
  )
  const cacheApp = builderCache(
    { ...readBuilderCache(environment), database: world.databaseConfig('cf_cache') },
    quiet,
  )
  cleanUp.push(
    () => jobsApp.close(),
    () => cacheApp.close(),
  )
  handlers.set('builder-jobs', jobsApp.handler).set('builder-cache', cacheApp.handler)
  const clients = awsClients({ region: 'us-east-1', endpoint: { sqs: aws.endpoint, s3: aws.endpoint } })
  const to = (kind: (typeof KINDS)[number]) => queue(clients.sqs, urls.get(kind) ?? '')
  const queues = { resolve: to('resolve'), evaluate: to('evaluate'), build: to('build'), scan: to('scan') }
  const stop = new AbortController()
  const turning = turn(stop.signal, async () => {
    await relayOutbox({ database: world.scheduler, queues, log: () => {} })
    await sweep({ database: world.scheduler, publish: async () => {}, hintAgainS: 60, log: () => {} })
  })
  cleanUp.push(async () => {
    stop.abort()
    await turning
    clients.sqs.destroy()
    clients.s3.destroy()
  })
  return server
}

async function turn(stop: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!stop.aborted) {
    await work()
    await sleep(100, undefined, { signal: stop }).catch(() => {})
  }
}

function authorityOf(server: Server): string {
  const address = server.address()
  return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
}

function environmentOf(changes: Record<string, string>): Record<string, string> {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin',
    CRYSTAL_FORGE__BUILDER__SERVER_URL: `http://${authorityOf(gateway)}`,
    CRYSTAL_FORGE__BUILDER__PRIVATE_KEY: join(directory, 'builder.key'),
    CRYSTAL_FORGE__BUILDER__JOB_PUBLIC_KEY: renderPublicKey(publicKeyOfSeed(world.signingKey)),
    CRYSTAL_FORGE__BUILDER__STATE_DIRECTORY: join(directory, 'state'),
    CRYSTAL_FORGE__BUILDER__LOCAL_FLAKES: fleet.path,
    CRYSTAL_FORGE__BUILDER__AWS_ENDPOINT: aws.endpoint,
    CRYSTAL_FORGE__BUILDER__MIN_FREE_BYTES: '1',
    ...changes,
  }
}

function spawned(command: string, changes: Record<string, string>): ChildProcess {
  const main = join(import.meta.dirname, '../src/main.ts')
  return spawn(process.execPath, [main, command], {
    env: environmentOf(changes),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

function start(): void {
  log = ''
  agent = spawned('run', {})
  for (const stream of [agent.stdout, agent.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
}

async function kill(): Promise<void> {
  if (agent === undefined || agent.exitCode !== null) return
  const gone = once(agent, 'exit')
  agent.kill('SIGKILL')
  await gone
}

async function finished(
  command: string,
  changes: Record<string, string>,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawned(command, changes)
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
    })
  await once(child, 'close')
  return { code: child.exitCode, ...texts }
}

async function count(sql: string): Promise<number> {
  return Number((await world.rows(sql))[0]?.['count'])
}

const jobs = (kind: string, state: string): Promise<number> =>
  count(`select count(*) from job where kind = '${kind}' and state = '${state}'`)
const unfinished = (): Promise<number> =>
  count(`select count(*) from job where state in ('queued', 'leased')`)

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    if (agent?.exitCode != null && agent.exitCode !== 0) throw new Error(`the builder ended: ${log}`)
    await sleep(50)
  }
}
