import { createHash } from 'node:crypto'
import { globSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { bucket } from '@crystal-forge/aws'
import {
  generateKeyPair,
  keyId,
  parseNarInfo,
  renderCacheSecretKey,
  renderPublicKey,
  renderSeed,
  type SecretSeed,
  signEd25519,
  signRequestTwice,
  verifyExportManifest,
} from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2 } from 'aws-lambda'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { addToken } from '../operator/world.ts'
import { seedBuild } from '../pipeline/seed.ts'
import { createWorld, fakePath, type Place, sri, type World } from '../pipeline/world.ts'
import {
  AUTHORITY,
  type FleetHost,
  makeHost,
  nonce,
  post,
  signedPost,
  stateBody,
} from '../postgres/agent-fleet.ts'
import { DEPLOYED, type Deployment, deploy, getEvent, scheduleEvent } from './functions.ts'
import type { Instance } from './lambda.ts'
import { openTarget, type Target } from './target.ts'

// The functions that the chain from a push to a verdict does not need, with the events that AWS sends them.
let directory: string
let target: Target
let deployment: Deployment
let world: World
let place: Place

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-every-function-'))
  const narinfoKey = join(directory, 'narinfo.key')
  await writeFile(narinfoKey, renderCacheSecretKey({ name: 'cache-1', seed: generateKeyPair().seed }))
  target = await openTarget()
  deployment = await deploy(target, narinfoKey)
  world = await createWorld()
  place = { database: world.database, jobKeyFile: '/nowhere', sealingKeyFile: '/nowhere' }
}, 120_000)
afterAll(async () => {
  await deployment?.close()
  await world?.close()
  await target?.close()
  await rm(directory, { recursive: true, force: true })
})

type Answer = { readonly status: number; readonly body: Record<string, unknown> }

async function send(instance: Instance, event: object): Promise<Answer> {
  const { statusCode, body } = (await instance.invoke(event)) as { statusCode: number; body: string }
  return { status: statusCode, body: body === '' ? {} : JSON.parse(body) }
}

test('each function of the repository runs as a bundle in this suite', () => {
  const root = join(import.meta.dirname, '../..')
  const all = globSync('functions/*/handler.ts', { cwd: root }).map((file) => dirname(file).slice(10))
  // deployment.test.ts has the two that run while a stack is deployed.
  expect([...DEPLOYED, 'first-secrets', 'migrations'].sort()).toEqual(all.sort())
})

describe('agent-keys', () => {
  type Pair = ReturnType<typeof generateKeyPair>
  let keys: Instance
  let reports: Instance
  beforeAll(async () => {
    keys = await deployment.start('agent-keys', place)
    reports = await deployment.start('agent-reports', place)
  })

  function signedTwice(
    path: string,
    hostname: string,
    by: { fresh: Pair } & ({ boot: SecretSeed } | { old: SecretSeed }),
  ): APIGatewayProxyEventV2 {
    const text = { v: 1, hostname, public_key: renderPublicKey(by.fresh.publicKey) }
    const body = Buffer.from(JSON.stringify(text))
    const tag = 'crystal-forge-agent-v1'
    const request = {
      method: 'POST',
      authority: AUTHORITY,
      target: path,
      body,
      tag,
      now: new Date(),
    } as const
    const own = { seed: by.fresh.seed, nonce: nonce() }
    const headers =
      'boot' in by
        ? signRequestTwice(request, { new: own, boot: { seed: by.boot, nonce: nonce() } })
        : signRequestTwice(request, { new: own, old: { seed: by.old, nonce: nonce() } })
    return post(path, { host: AUTHORITY, ...headers }, body)
  }

  test('gives a host its first key for a token, and another one for that, after which the first is refused', async () => {
    const token = generateKeyPair()
    await world.rows(
      `insert into enroll_token (tenant_id, key_id, public_key, hostname_pattern, created_by, expires_at)
       values ($1, $2, $3, 'new-*', 'test', now() + interval '1 hour')`,
      [world.tenant, keyId(token.publicKey), token.publicKey],
    )
    const [first, second] = [generateKeyPair(), generateKeyPair()]
    const report = async (pair: Pair): Promise<number> =>
      (await send(reports, signedPost(pair, '/v1/agent/reports', stateBody('new-1')))).status

    expect(await report(first)).toBe(401)
    const enrol = signedTwice('/v1/enroll', 'new-1', { fresh: first, boot: token.seed })
    expect(await send(keys, enrol)).toMatchObject({ status: 201, body: { key_id: keyId(first.publicKey) } })
    expect(await send(keys, enrol)).toMatchObject({ status: 409, body: { code: 'replayed' } })
    expect(await report(first)).toBe(202)

    const rotate = signedTwice('/v1/agent/keys', 'new-1', { fresh: second, old: first.seed })
    expect(await send(keys, rotate)).toMatchObject({
      status: 201,
      body: { key_id: keyId(second.publicKey), replaced: keyId(first.publicKey) },
    })
    expect(await report(first)).toBe(401)
    expect(await report(second)).toBe(202)
    expect(
      await world.rows(
        `select k.key_id, k.status from system_key k join system s on s.id = k.system_id where s.hostname = 'new-1' order by k.status`,
      ),
    ).toEqual([
      { key_id: keyId(second.publicKey), status: 'active' },
      { key_id: keyId(first.publicKey), status: 'revoked' },
    ])
  })
})

describe('original-wire', () => {
  async function legacyHost(hostname: string): Promise<FleetHost> {
    const host = await makeHost(world.database.admin, world.tenant, hostname)
    const until = `original_wire_until = now() + interval '1 day'`
    await world.rows(`update tenant set ${until} where id = $1`, [world.tenant])
    await world.rows(`update system_key set ${until} where key_id = $1`, [host.keyId])
    return host
  }

  function original(path: string, host: FleetHost, more: object): APIGatewayProxyEventV2 {
    const report = {
      id: null,
      hostname: host.hostname,
      timestamp: new Date().toISOString(),
      change_reason: 'startup',
      store_path: '/nix/store/abc-nixos-system-25.11',
      os: '25.11',
      memory_gb: 7943.5,
      uptime_secs: 100,
      ...more,
    }
    const body = Buffer.from(JSON.stringify(report))
    const signature = Buffer.from(signEd25519(body, host.seed)).toString('base64')
    return post(path, { host: 'cf:3000', 'x-key-id': host.hostname, 'x-signature': signature }, body)
  }

  test('records what an agent of 0.2 sends on its three routes, marked as such, and no signature twice', async () => {
    const instance = await deployment.start('original-wire', place)
    const host = await legacyHost('legacy-1')
    const first = original('/agent/heartbeat', host, {})
    expect(await send(instance, first)).toEqual({ status: 200, body: { desired_target: null } })
    expect((await send(instance, first)).status).toBe(401)
    for (const path of ['/agent/state', '/system_state'])
      expect(await send(instance, original(path, host, { kernel: path }))).toEqual({ status: 200, body: {} })
    expect(
      await world.rows('select assurance, count(*)::int from system_state where system_id = $1 group by 1', [
        host.system,
      ]),
    ).toEqual([{ assurance: 'legacy', count: 3 }])
  })

  test('is off for a tenant that did not switch it on', async () => {
    const instance = await deployment.start('original-wire', place)
    const host = await legacyHost('legacy-2')
    await world.rows('update tenant set original_wire_until = null where id = $1', [world.tenant])
    expect((await send(instance, original('/agent/state', host, {}))).status).toBe(401)
    expect(await world.rows('select from system_state where system_id = $1', [host.system])).toEqual([])
  })
})

describe('status', () => {
  test('says to everybody whether the database answers, and to a token what its tenant has', async () => {
    const instance = await deployment.start('status', place)
    const open = await send(instance, getEvent('/status'))
    expect(open).toMatchObject({ status: 200, body: { status: 'healthy', database: 'healthy' } })
    expect(open.body).not.toHaveProperty('stats')
    const token = await addToken(world.database, world.tenant, 'viewer')
    const known = await send(instance, getEvent('/status', { authorization: `Bearer ${token}` }))
    expect(known).toMatchObject({ status: 200, body: { stats: expect.any(Object) } })
    const wrong = { authorization: `Bearer cf_${'A'.repeat(43)}` }
    expect((await send(instance, getEvent('/status', wrong))).status).toBe(401)
  })

  test('says 503 while the database takes no connections, and 200 again afterwards', async () => {
    const instance = await deployment.start('status', place)
    await world.rows('alter role cf_status connection limit 0')
    try {
      const body = { status: 'unhealthy', database: 'unhealthy' }
      expect(await send(instance, getEvent('/status'))).toMatchObject({ status: 503, body })
    } finally {
      await world.rows('alter role cf_status connection limit -1')
    }
    expect((await send(instance, getEvent('/status'))).status).toBe(200)
  })
})

describe('controls-api', () => {
  test('writes a document from the benchmark beside its bundle, and signs the list of all of them', async () => {
    const { seed, publicKey } = generateKeyPair()
    const file = join(directory, 'export.key')
    await writeFile(file, renderSeed(seed))
    await makeHost(world.database.admin, world.tenant, 'audited-1')
    const instance = await deployment.start('controls-api', place, { EXPORT_SIGNING_KEY_FILE: file })
    const authorization = `Bearer ${await addToken(world.database, world.tenant, 'viewer')}`

    const event = getEvent('/v1/exports/cklb?system=audited-1', { authorization })
    const routeKey = 'GET /v1/exports/{format}'
    const exported = await send(instance, { ...event, routeKey, pathParameters: { format: 'cklb' } })
    expect(exported.status).toBe(200)
    const document = String(exported.body['document'])
    expect(createHash('sha256').update(document).digest('hex')).toBe(exported.body['sha256'])
    expect(JSON.parse(document).stigs[0].rules.length).toBeGreaterThan(100)

    const asked = await send(instance, getEvent('/v1/export-manifest?system=audited-1', { authorization }))
    const signer = { keyId: keyId(publicKey), publicKey, role: 'exports', person: 'exports' }
    expect(verifyExportManifest(asked.body['envelope'], [signer])).toMatchObject({
      ok: true,
      manifest: { tenant: world.tenant },
    })
    expect(await world.rows(`select count(*)::int from audit_event where type = 'control.exported'`)).toEqual(
      [{ count: 2 }],
    )
  })
})

describe('sweep', () => {
  test('at its schedule takes leases back, publishes narinfos that a commit left out, and wakes the relay', async () => {
    const builder = await world.addBuilder('b1')
    const { job } = await seedBuild(world, await world.addFlake('fleet'))
    await builder.claim(['build'], { job })
    await world.rows('delete from outbox')
    await world.rows(`update job set lease_until = now() - interval '1 second' where id = $1`, [job])
    const path = fakePath('left-out')
    await world.rows(
      `insert into store_path (tenant_id, path, nar_hash, nar_size, reference_ids, url, compression, file_hash, file_size, signature, builder_id, committed_at)
       values ($1, $2, $3, 1, '{}', $4, 'zstd', $3, 1, $5, $6, now() - interval '1 hour')`,
      [
        world.tenant,
        path,
        sri(path),
        `nar/${'0'.repeat(52)}.nar.zst`,
        `cache-1:${Buffer.alloc(64).toString('base64')}`,
        builder.id,
      ],
    )

    const instance = await deployment.start('sweep', place)
    expect(await instance.invoke(scheduleEvent())).toMatchObject({ expired: 1, published: 1, failed: 0 })
    expect(await world.rows('select state, attempt from job where id = $1', [job])).toEqual([
      { state: 'queued', attempt: 2 },
    ])
    const objects = bucket(target.clients.s3, deployment.bucket)
    const narinfo = await objects.getBytes(`${world.tenant}/${path.slice(11, 43)}.narinfo`, 4096)
    expect(parseNarInfo(Buffer.from(narinfo ?? []).toString())).toMatchObject({ storePath: path })
    expect(await deployment.relayQueue.receive({ waitSeconds: 20 })).toHaveLength(1)
    const lines = instance
      .log()
      .split('\n')
      .filter((line) => line.includes('"_aws"'))
    expect(lines.map((line) => JSON.parse(line))).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ expired: 1, published: 1 }),
        expect.objectContaining({ jobWaitingS: expect.any(Number), hostsSilentPercent: expect.any(Number) }),
      ]),
    )

    expect(await instance.invoke(scheduleEvent())).toMatchObject({ expired: 0, published: 0, failed: 0 })
  })

  test('of two at once does each piece of work once', async () => {
    const builder = await world.addBuilder('b2')
    const flake = await world.addFlake('twice')
    const jobs: { readonly job: string }[] = []
    // One after the other: each takes the next position on the branch.
    for (const _ of [1, 2, 3]) jobs.push(await seedBuild(world, flake))
    for (const { job } of jobs) await builder.claim(['build'], { job })
    await world.rows(`update job set lease_until = now() - interval '1 second' where id = any ($1)`, [
      jobs.map(({ job }) => job),
    ])
    const two = await Promise.all([1, 2].map(() => deployment.start('sweep', place)))
    const done = (await Promise.all(two.map((one) => one.invoke(scheduleEvent())))) as {
      expired: number
      failed: number
    }[]
    expect(done.reduce((sum, { expired }) => sum + expired, 0)).toBe(3)
    expect(done.map(({ failed }) => failed)).toEqual([0, 0])
    expect(
      await world.rows('select distinct attempt from job where id = any ($1)', [jobs.map(({ job }) => job)]),
    ).toEqual([{ attempt: 2 }])
  })

  test('in a tenant where the bucket is gone says so, and the leases are taken back all the same', async () => {
    const builder = await world.addBuilder('b3')
    const { job } = await seedBuild(world, await world.addFlake('gone'))
    await builder.claim(['build'], { job })
    await world.rows(`update job set lease_until = now() - interval '1 second' where id = $1`, [job])
    await world.rows('update store_path set published_at = null')
    const instance = await deployment.start('sweep', place, { CACHE_BUCKET: `${deployment.bucket}-gone` })
    expect(await instance.invoke(scheduleEvent())).toMatchObject({ expired: 1, published: 0, failed: 1 })
    await vi.waitFor(() => expect(instance.log()).toContain('a piece of the sweep failed'))
  })
})
