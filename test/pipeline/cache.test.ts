import { createHash } from 'node:crypto'
import { postCommit } from '@crystal-forge/functions/builder-cache/post-commit.ts'
import { postMissing } from '@crystal-forge/functions/builder-cache/post-missing.ts'
import { type HttpHandler, httpApi } from '@crystal-forge/functions/http-api.ts'
import { narinfoPublisher } from '@crystal-forge/functions/narinfo-publisher.ts'
import { sweep } from '@crystal-forge/functions/sweep/sweep.ts'
import {
  closureDigest,
  generateKeyPair,
  nix32OfHash,
  parseNarInfo,
  publicKeyOfSeed,
  storePath,
  verifiedCacheKeys,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type MemoryBucket, memoryBucket } from './memory-bucket.ts'
import { seedBuild } from './seed.ts'
import {
  type Answer,
  AUTHORITY,
  type Claimed,
  createWorld,
  fakePath,
  sri,
  type TestBuilder,
  type World,
} from './world.ts'

let world: World
let builder: TestBuilder
let objects: MemoryBucket
let handler: HttpHandler
let held: Claimed
const signingKey = { name: 'cache.example.com-1', seed: generateKeyPair().seed }

beforeAll(async () => {
  world = await createWorld()
  builder = await world.addBuilder('b1')
  objects = memoryBucket()
  const parts = { database: world.database.poolFor('cf_cache'), authority: AUTHORITY, now: () => new Date() }
  handler = httpApi(
    {
      'POST /v1/builder/cache/missing': postMissing(parts),
      'POST /v1/builder/cache/commit': postCommit(parts, {
        objects,
        signingKey,
        publish: narinfoPublisher(objects),
      }),
    },
    () => {},
  )
  const { job } = await seedBuild(world, await world.addFlake('fleet'))
  const claimed = await builder.claim(['build'], { job })
  if (claimed === null) throw new Error('no job was given')
  held = claimed
})
afterAll(() => world.close())

let salt = 0
beforeEach(() => {
  salt++
})

type Uploaded = Record<string, unknown> & {
  path: string
  references: string[]
  url: string
  file_size: number
}

/** A path whose NAR lies in the bucket, unless `absent`. */
function upload(name: string, references: string[] = [], changes: Record<string, unknown> = {}): Uploaded {
  const path = fakePath(name, String(salt))
  const file = Buffer.from(`file of ${path}`)
  const fileHash = `sha256-${createHash('sha256').update(file).digest('base64')}`
  const uploaded = {
    path,
    nar_hash: sri(path),
    nar_size: 100,
    references: references.map((reference) => (reference === 'self' ? path : reference)),
    deriver: null,
    ca: null,
    url: `nar/${nix32OfHash(fileHash).slice(7)}.nar.zst`,
    compression: 'zstd',
    file_hash: fileHash,
    file_size: file.length,
    ...changes,
  }
  if (changes['absent'] !== true)
    objects.objects.set(`${world.tenant}/${uploaded.url}`, { bytes: file, contentType: undefined })
  const { absent: _, ...rest } = uploaded as typeof uploaded & { absent?: unknown }
  return rest
}

function commit(paths: object[], toplevel?: string, changes: object = {}): Promise<Answer> {
  const body = {
    v: 1,
    job: held.job,
    fence: held.fence,
    paths,
    ...(toplevel === undefined ? {} : { toplevel }),
    ...changes,
  }
  return builder.send(handler, 'POST /v1/builder/cache/commit', body)
}

async function missing(paths: string[]): Promise<unknown> {
  const body = { v: 1, job: held.job, fence: held.fence, paths }
  return (await builder.send(handler, 'POST /v1/builder/cache/missing', body)).body['missing']
}

function narinfoKey(path: string): string {
  return `${world.tenant}/${path.slice(11, 43)}.narinfo`
}

test('a closure is asked for, committed, signed for Nix, and pinned by its digest', async () => {
  const libc = upload('glibc', ['self'])
  const bash = upload('bash', [libc.path])
  const top = upload('system', [bash.path, libc.path])
  const all = [top.path, bash.path, libc.path]
  expect(await missing(all)).toEqual(all)
  // The order within a batch is the builder's own.
  const answer = await commit([top, libc, bash], top.path)
  const digest = closureDigest(
    [libc, bash, top].map((one) => ({
      storePath: storePath(one.path),
      narHash: sri(one.path),
      narSize: 100,
      references: one.references.map(storePath),
    })),
  )
  expect(answer).toEqual({
    status: 200,
    body: { published: 3, closure: { count: 3, nar_size: 300, sha256: digest.sha256 } },
  })
  expect(await missing(all)).toEqual([])

  const order = objects.written.filter((key) => key.endsWith('.narinfo')).slice(-3)
  expect(order).toEqual([narinfoKey(libc.path), narinfoKey(bash.path), narinfoKey(top.path)])
  const stored = objects.objects.get(narinfoKey(top.path))
  expect(stored?.contentType).toBe('text/x-nix-narinfo')
  const info = parseNarInfo(String(stored?.bytes))
  if (info === null) throw new Error('the narinfo does not parse')
  expect(info).toMatchObject({ url: top.url, compression: 'zstd', fileSize: top.file_size, narSize: 100 })
  const trusted = new Map([[signingKey.name, publicKeyOfSeed(signingKey.seed)]])
  expect(verifiedCacheKeys(info, trusted)).toEqual([signingKey.name])
  expect(String(objects.objects.get(`${world.tenant}/nix-cache-info`)?.bytes)).toContain(
    'StoreDir: /nix/store',
  )
  expect(await world.rows(`select count(*) from audit_event where type = 'cache.committed'`)).toEqual([
    { count: 1 },
  ])
})

test('the same batch again is published already, and changes nothing', async () => {
  const one = upload('again')
  expect(await commit([one])).toEqual({ status: 200, body: { published: 1 } })
  const writes = objects.written.length
  expect(await commit([one])).toEqual({ status: 200, body: { published: 0 } })
  expect(objects.written.length).toBe(writes)
})

test('a build whose closure is committed is cached, not only built', async () => {
  const { job, outPath, derivation } = await seedBuild(world, await world.addFlake('cached'))
  const claimed = await builder.claim(['build'], { job })
  if (claimed === null) throw new Error('no job was given')
  const top = { ...upload('x'), path: outPath, nar_hash: sri(outPath) }
  const body = { v: 1, job, fence: claimed.fence, paths: [top], toplevel: outPath }
  const committed = await builder.send(handler, 'POST /v1/builder/cache/commit', body)
  const { sha256 } = committed.body['closure'] as { sha256: string }
  expect((await builder.result(claimed, builder.built(claimed, { closure: sha256 }))).status).toBe(200)
  expect(
    await world.rows('select state, closure_sha256 from derivation where id = $1', [derivation]),
  ).toEqual([{ state: 'cached', closure_sha256: sha256 }])
})

describe('refused, and nothing of the batch is there afterwards', () => {
  const other = fakePath('never-uploaded')
  const cases: [string, () => object[], number, string, RegExp][] = [
    [
      'a NAR that was never uploaded',
      () => [upload('a', [], { absent: true })],
      422,
      'nar_missing',
      /-a: nar\/.* is not in the bucket/,
    ],
    ['a NAR of another size', () => [upload('a', [], { file_size: 7 })], 422, 'nar_missing', /instead of 7/],
    ['a reference that nobody has', () => [upload('a', [other])], 422, 'reference_missing', /never-uploaded/],
    ['the same path twice', () => [upload('a'), upload('a')], 422, 'duplicate_path', /stands twice/],
    ['paths in a circle', () => circle(), 422, 'reference_cycle', /circle/],
    [
      'a file that is not named by its hash',
      () => [upload('a', [], { file_hash: sri('x') })],
      422,
      'nar_name',
      /must be called/,
    ],
    [
      'a compression that is not in the name',
      () => [upload('a', [], { compression: 'none' })],
      422,
      'nar_name',
      /\.nar$/,
    ],
    ['an empty NAR', () => [upload('a', [], { nar_size: 0 })], 422, 'nar_size', /no NAR is empty/],
    ['a content address of no kind', () => [upload('a', [], { ca: 'trust me' })], 422, 'bad_ca', /fixed/],
    [
      'a url that leaves the prefix',
      () => [upload('a', [], { url: 'nar/../../x' })],
      400,
      'invalid_body',
      /nar\//,
    ],
    [
      'a path outside of the store',
      () => [{ ...upload('a'), path: '/etc/passwd' }],
      400,
      'invalid_body',
      /nix\/store/,
    ],
    [
      'a name with a line feed',
      () => [{ ...upload('a'), path: `${fakePath('a')}\nSig: x` }],
      400,
      'invalid_body',
      /nix\/store/,
    ],
    ['an unknown member', () => [{ ...upload('a'), sig: 'mine' }], 400, 'invalid_body', /sig/],
  ]
  test.each(cases)('%s', async (_, batch, status, code, detail) => {
    const before = await world.rows('select count(*) from store_path')
    const writes = objects.written.length
    const answer = await commit(batch())
    expect({ status: answer.status, code: answer.body['code'] }).toEqual({ status, code })
    expect(answer.body['detail']).toMatch(detail)
    expect(await world.rows('select count(*) from store_path')).toEqual(before)
    expect(objects.written.length).toBe(writes)
  })

  test('a path that is there with other contents', async () => {
    const one = upload('conflict')
    await commit([one])
    const answer = await commit([{ ...one, nar_hash: sri('other') }])
    expect(answer).toMatchObject({ status: 409, body: { code: 'path_conflict' } })
    expect(await world.rows(`select count(*) from audit_event where type = 'cache.conflict'`)).toEqual([
      { count: 1 },
    ])
  })

  test('a closure with a hole', async () => {
    const answer = await commit([], fakePath('no-such-system'))
    expect(answer).toMatchObject({ status: 409, body: { code: 'closure_incomplete' } })
    expect(answer.body['detail']).toContain('no-such-system')
  })

  test('a fence that is not the job’s', async () => {
    const one = upload('stale')
    expect(await commit([one], undefined, { fence: held.fence + 1 })).toMatchObject({
      status: 409,
      body: { code: 'stale_fence' },
    })
    expect(await missing([one.path])).toEqual([one.path])
  })
})

function circle(): object[] {
  const a = fakePath('a', String(salt))
  const b = fakePath('b', String(salt))
  return [upload('a', [b]), upload('b', [a])]
}

describe('a commit that breaks off', () => {
  test.each(['before', 'after'] as const)(
    '%s a narinfo is written is made good by sending it again',
    async (when) => {
      const low = upload(`low-${when}`)
      const high = upload(`high-${when}`, [low.path])
      objects.failNext(when, 1)
      expect((await commit([low, high], high.path)).status).toBe(500)
      expect(await missing([low.path, high.path])).toEqual([low.path, high.path])
      expect(await commit([low, high], high.path)).toMatchObject({
        status: 200,
        body: { published: 2, closure: { count: 2 } },
      })
    },
  )

  test('and is never sent again is made good by the sweep', async () => {
    const low = upload('left-low')
    const high = upload('left-high', [low.path])
    objects.failNext('before')
    expect((await commit([low, high])).status).toBe(500)
    await world.rows(
      `update store_path set committed_at = now() - interval '5 minutes' where published_at is null`,
    )
    const swept = await sweep({
      database: world.scheduler,
      publish: narinfoPublisher(objects),
      hintAgainS: 60,
      log: () => {},
    })
    expect(swept).toMatchObject({ published: 2, failed: 0 })
    expect(await missing([low.path, high.path])).toEqual([])
    const info = parseNarInfo(String(objects.objects.get(narinfoKey(high.path))?.bytes))
    expect(info?.references).toEqual([low.path])
  })
})
