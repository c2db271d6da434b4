import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { awsClients, bucket, queue } from '@crystal-forge/aws'
import { app as builderCache } from '@crystal-forge/functions/builder-cache/app.ts'
import { readConfig as readBuilderCache } from '@crystal-forge/functions/builder-cache/config.ts'
import { readConfig as readBuilderJobs } from '@crystal-forge/functions/builder-jobs/config.ts'
import { app as relayOutbox } from '@crystal-forge/functions/relay-outbox/app.ts'
import { readConfig as readRelay } from '@crystal-forge/functions/relay-outbox/config.ts'
import { app as sweep } from '@crystal-forge/functions/sweep/app.ts'
import { readConfig as readSweep } from '@crystal-forge/functions/sweep/config.ts'
import { readConfig as readWebhooks } from '@crystal-forge/functions/webhooks/config.ts'
import {
  generateKeyPair,
  jobHint,
  nix32OfHash,
  parseNarInfo,
  renderCacheSecretKey,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type EmbeddedAws, startEmbeddedAws } from '../../server/src/embedded-aws.ts'
import { seedBuild } from './seed.ts'
import { AUTHORITY, createWorld, sri, type World } from './world.ts'

let world: World
let aws: EmbeddedAws
let directory: string

beforeAll(async () => {
  world = await createWorld()
  directory = await mkdtemp(join(tmpdir(), 'cf-pipeline-aws-'))
  aws = await startEmbeddedAws({ dataDir: join(directory, 'aws'), ephemeral: true })
  await aws.ensureBucket('cache')
})
afterAll(async () => {
  await world.close()
  await aws.close()
  await rm(directory, { recursive: true, force: true })
})

test('a hint reaches the builder over SQS, and what it uploads to S3 is published for Nix', async () => {
  const builder = await world.addBuilder('b1')
  const { job, outPath, derivation } = await seedBuild(world, await world.addFlake('fleet'))
  const environment = await environmentOf()
  const { QUEUE_URL_BUILD: buildQueue = '' } = environment
  const log = (): void => {}

  const relay = relayOutbox(withDatabase(readRelay(environment), 'cf_scheduler'), { log })
  expect(await relay.handler()).toMatchObject({ sent: 1, refused: 0 })
  const clients = awsClients({ region: 'us-east-1', endpoint: { sqs: aws.endpoint, s3: aws.endpoint } })
  const [message] = await queue(clients.sqs, buildQueue).receive({ waitSeconds: 1 })
  const hint = jobHint.parse(JSON.parse(message?.body ?? ''))
  expect(hint).toEqual({ v: 1, job, kind: 'build', attempt: 1 })
  const claimed = await builder.claim(['build'], { job: hint.job, attempt: hint.attempt })
  if (claimed === null) throw new Error('no job was given')

  const nar = Buffer.from('the compressed NAR')
  const fileHash = `sha256-${createHash('sha256').update(nar).digest('base64')}`
  const url = `nar/${nix32OfHash(fileHash).slice(7)}.nar.zst`
  const cache = builderCache(withDatabase(readBuilderCache(environment), 'cf_cache'), { log })
  const path = {
    path: outPath,
    nar_hash: sri(outPath),
    nar_size: 100,
    references: [],
    deriver: null,
    ca: null,
    url,
    compression: 'zstd',
    file_hash: fileHash,
    file_size: nar.length,
  }
  const body = { v: 1, job, fence: claimed.fence, paths: [path], toplevel: outPath }
  const commit = 'POST /v1/builder/cache/commit'
  expect(await builder.send(cache.handler, commit, body)).toMatchObject({
    status: 422,
    body: { code: 'nar_missing' },
  })
  await bucket(clients.s3, 'cache').putIfAbsent(`${world.tenant}/${url}`, nar)
  const committed = await builder.send(cache.handler, commit, body)
  expect(committed).toMatchObject({ status: 200, body: { published: 1, closure: { count: 1 } } })

  const { sha256 } = committed.body['closure'] as { sha256: string }
  await builder.result(claimed, builder.built(claimed, { closure: sha256 }))
  expect(await world.rows('select state from derivation where id = $1', [derivation])).toEqual([
    { state: 'cached' },
  ])
  const narinfo = await fetch(`${aws.endpoint}/cache/${world.tenant}/${outPath.slice(11, 43)}.narinfo`)
  expect(parseNarInfo(await narinfo.text())).toMatchObject({ storePath: outPath, url })

  const sweeper = sweep(withDatabase(readSweep(environment), 'cf_scheduler'), { log })
  expect(await sweeper.handler()).toMatchObject({ failed: 0 })
  await Promise.all([relay.close(), cache.close(), sweeper.close()])
  clients.s3.destroy()
  clients.sqs.destroy()
})

test('a function that lacks its settings names all of them at once', () => {
  for (const read of [readRelay, readSweep, readBuilderCache, readBuilderJobs, readWebhooks])
    expect(() => read({ DATABASE_HOST: 'db' })).toThrow(/DATABASE_NAME is not set; DATABASE_USER is not set/)
  expect(() => readRelay({ QUEUE_URL_SCAN: 'x' })).toThrow(
    /QUEUE_URL_RESOLVE.*QUEUE_URL_EVALUATE.*QUEUE_URL_BUILD/,
  )
  expect(() => readBuilderJobs({ LEASE_S: '0' })).toThrow(/LEASE_S is "0"; expected a whole number from 2/)
})

async function environmentOf(): Promise<Record<string, string>> {
  const narinfoKey = join(directory, 'narinfo.key')
  await writeFile(narinfoKey, renderCacheSecretKey({ name: 'cache-1', seed: generateKeyPair().seed }))
  const queues = ['resolve', 'evaluate', 'build', 'scan'].map(
    async (kind) =>
      [`QUEUE_URL_${kind.toUpperCase()}`, await aws.ensureQueue(`crystal-forge-${kind}`)] as const,
  )
  return {
    DATABASE_HOST: '127.0.0.1',
    DATABASE_NAME: 'x',
    DATABASE_USER: 'x',
    DATABASE_AUTH: 'trust',
    PUBLIC_AUTHORITY: AUTHORITY,
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: aws.endpoint,
    CACHE_BUCKET: 'cache',
    NARINFO_KEY_FILE: narinfoKey,
    ...Object.fromEntries(await Promise.all(queues)),
  }
}

function withDatabase<Config extends object>(
  config: Config,
  role: string,
): Config & { database: ReturnType<World['databaseConfig']> } {
  return { ...config, database: world.databaseConfig(role) }
}
