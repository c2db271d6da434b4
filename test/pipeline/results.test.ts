import { cancelJob, inTransaction, retryJob } from '@crystal-forge/postgres'
import { generateKeyPair } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expire, makeDue, seedBuild } from './seed.ts'
import {
  type BuiltChanges,
  type Claimed,
  createWorld,
  fakePath,
  sri,
  type TestBuilder,
  type World,
} from './world.ts'

let world: World
let builder: TestBuilder
let other: TestBuilder
let flake: string

beforeAll(async () => {
  world = await createWorld()
  builder = await world.addBuilder('b1')
  other = await world.addBuilder('b2')
  flake = await world.addFlake('fleet')
})
afterAll(() => world.close())

async function leased(): Promise<{ claimed: Claimed; derivation: string; job: string; outPath: string }> {
  const seeded = await seedBuild(world, flake)
  const claimed = await builder.claim(['build'], { job: seeded.job })
  if (claimed === null) throw new Error('no job was given')
  return { ...seeded, claimed }
}

async function derivationOf(id: string): Promise<unknown> {
  const [row] = await world.rows('select state, failure_class, error from derivation where id = $1', [id])
  return row
}

const failed = (name: string): object => ({ outcome: 'failed', class: name, message: `${name} happened` })

describe('an attestation that does not hold changes nothing', () => {
  const cases: [string, (claimed: Claimed) => BuiltChanges][] = [
    ['signed by a key that is not this builder', () => ({ signer: generateKeyPair().seed })],
    ['about another NAR hash', () => ({ attestedNarHash: sri('other') })],
    ['about another job', () => ({ attestedJob: 'job_other' })],
  ]
  test.each(cases)('%s', async (_, changes) => {
    const { claimed, derivation } = await leased()
    const answer = await builder.result(claimed, builder.built(claimed, changes(claimed)))
    expect(answer).toMatchObject({ status: 422, body: { code: 'attestation_refused' } })
    expect(await derivationOf(derivation)).toMatchObject({ state: 'building' })
    // The lease is still held, so the right one is taken.
    expect((await builder.result(claimed, builder.built(claimed))).status).toBe(200)
    expect(await derivationOf(derivation)).toMatchObject({ state: 'built' })
  })
})

test('a build of another path than was evaluated is a verdict', async () => {
  const { claimed, derivation } = await leased()
  const answer = await builder.result(claimed, builder.built(claimed, { outPath: fakePath('other') }))
  expect(answer).toMatchObject({ status: 409, body: { code: 'hash_mismatch' } })
  expect(await derivationOf(derivation)).toMatchObject({ state: 'failed', failure_class: 'hash_mismatch' })
  expect(await world.rows('select state from job where id = $1', [claimed.job])).toEqual([
    { state: 'failed' },
  ])
})

test('a build with another NAR hash than the cache holds is a verdict', async () => {
  const { claimed, derivation, outPath } = await leased()
  await world.rows(
    `insert into store_path (tenant_id, path, nar_hash, nar_size, reference_ids, url, compression, file_hash, file_size, signature, builder_id)
     values ($1, $2, $3, 1, '{}', 'nar/x', 'zstd', 'x', 1, 'k:s', $4)`,
    [world.tenant, outPath, sri('earlier'), builder.id],
  )
  const answer = await builder.result(claimed, builder.built(claimed))
  expect(answer).toMatchObject({ status: 409, body: { code: 'hash_mismatch' } })
  expect(await derivationOf(derivation)).toMatchObject({ state: 'failed', failure_class: 'hash_mismatch' })
})

test('a build that fails keeps its own error and is not tried again by itself', async () => {
  const { claimed, derivation, job } = await leased()
  const message = { ...failed('build'), log_tail: 'configure: error: no compiler' }
  expect(await builder.result(claimed, message)).toMatchObject({ body: { next: 'verdict' } })
  expect(await derivationOf(derivation)).toEqual({
    state: 'failed',
    failure_class: 'build',
    error: 'build happened',
  })
  expect(await world.rows('select state, log_tail from job where id = $1', [job])).toEqual([
    { state: 'failed', log_tail: 'configure: error: no compiler' },
  ])
  // A new commit with the same derivation finds the verdict.
  await world.rows(`select set_config('cf.tenant', $1, false), enqueue_build($2)`, [world.tenant, derivation])
  expect(await builder.claim(['build'])).toBeNull()
  const retried = await inTransaction(
    world.database.poolFor('cf_operators'),
    { tenant: world.tenant },
    (transaction) => retryJob(transaction, job),
  )
  expect(retried.kind).toBe('done')
  const again = await builder.claim(['build'])
  expect(again?.document.work).toMatchObject({ derivation })
  if (again !== null) await builder.result(again, failed('build'))
})

test('out of memory is tried with twice and four times the memory', async () => {
  const { claimed, job, derivation } = await leased()
  const factors = []
  let held: Claimed | null = claimed
  while (held !== null) {
    if (held.document.work.kind === 'build') factors.push(held.document.work.memory_factor)
    await builder.result(held, failed('oom'))
    await makeDue(world)
    held = await builder.claim(['build'], { job })
  }
  expect(factors).toEqual([1, 2, 4])
  expect(await derivationOf(derivation)).toMatchObject({ state: 'failed', failure_class: 'oom' })
})

test('a crashed builder loses its lease, another one takes over, and the late result is refused and recorded', async () => {
  const { claimed, job, derivation } = await leased()
  expect(await expire(world, job)).toBe(1)
  await makeDue(world)
  const taken = await other.claim(['build'], { job })
  expect(taken).toMatchObject({ attempt: 2 })
  const late = await builder.result(claimed, builder.built(claimed))
  expect(late).toMatchObject({ status: 409, body: { code: 'stale_fence' } })
  await builder.result(claimed, builder.built(claimed))
  const attempts = 'select attempt, outcome from job_attempt where job_id = $1 order by fence, outcome'
  expect(await world.rows(attempts, [job])).toEqual([
    { attempt: 1, outcome: 'expired' },
    { attempt: 1, outcome: 'late' },
    { attempt: 2, outcome: 'running' },
  ])
  expect(await derivationOf(derivation)).toMatchObject({ state: 'building' })
  if (taken !== null) expect((await other.result(taken, other.built(taken))).status).toBe(200)
  expect(await derivationOf(derivation)).toMatchObject({ state: 'built' })
})

test('a builder that stops answering five times leaves a verdict with the reason', async () => {
  const { job, derivation } = await leased()
  for (let attempt = 1; attempt < 5; attempt++) {
    await expire(world, job)
    await makeDue(world)
    expect(await other.claim(['build'], { job })).toMatchObject({ attempt: attempt + 1 })
  }
  await expire(world, job)
  expect(await derivationOf(derivation)).toMatchObject({
    state: 'failed',
    failure_class: 'infra',
    error: expect.stringContaining('lease of attempt 5 ran out'),
  })
  // That was no verdict about the source: whoever wants it next has it built.
  await world.rows(`select set_config('cf.tenant', $1, false), enqueue_build($2)`, [world.tenant, derivation])
  const again = await builder.claim(['build'])
  expect(again?.document.work).toMatchObject({ derivation })
  if (again !== null) await builder.result(again, builder.built(again))
})

describe('who may speak about a job', () => {
  test('another builder with the right fence is refused', async () => {
    const { claimed } = await leased()
    expect((await other.heartbeat(claimed)).status).toBe(409)
    expect(await other.result(claimed, failed('build'))).toMatchObject({
      status: 409,
      body: { code: 'stale_fence' },
    })
    expect((await builder.heartbeat(claimed)).status).toBe(200)
    await builder.result(claimed, failed('build'))
  })

  test('a fence that was never given out is refused without a record', async () => {
    const { claimed, job } = await leased()
    const forged = { ...claimed, fence: claimed.fence + 1000 }
    expect(await builder.result(forged, failed('build'))).toMatchObject({ status: 409 })
    expect(
      await world.rows(`select count(*) from job_attempt where job_id = $1 and outcome = 'late'`, [job]),
    ).toEqual([{ count: 0 }])
    await builder.result(claimed, failed('build'))
  })

  test('a job of another tenant does not exist', async () => {
    const { claimed } = await leased()
    const [row] = await world.rows(`insert into tenant (name) values ('rival') returning id`)
    await world.rows('update builder set tenant_id = $1 where id = $2', [row?.['id'], other.id])
    await world.rows('update builder_key set tenant_id = $1 where builder_id = $2', [row?.['id'], other.id])
    expect(await other.result(claimed, failed('build'))).toMatchObject({
      status: 404,
      body: { code: 'unknown_job' },
    })
    expect(await other.claimAnswer(['build'], { job: claimed.job })).toEqual({
      claimed: false,
      because: 'unknown',
    })
    await builder.result(claimed, failed('build'))
    await world.rows('update builder set tenant_id = $1 where id = $2', [world.tenant, other.id])
    await world.rows('update builder_key set tenant_id = $1 where builder_id = $2', [world.tenant, other.id])
  })

  test('a signature is good once', async () => {
    const { claimed, job } = await leased()
    const nonce = 'a-nonce-of-22-characters'
    const beat = (): ReturnType<TestBuilder['send']> =>
      builder.send(
        world.jobs,
        'POST /v1/builder/jobs/{job}/heartbeat',
        { v: 1, fence: claimed.fence },
        { nonce, parameters: { job } },
      )
    expect((await beat()).status).toBe(200)
    expect(await beat()).toMatchObject({ status: 409, body: { code: 'replayed' } })
    await builder.result(claimed, failed('build'))
  })

  test('a revoked key gets the one answer that unknown keys get', async () => {
    const gone = await world.addBuilder('gone')
    await world.rows(`update builder_key set status = 'revoked' where builder_id = $1`, [gone.id])
    const answers = [await gone.hello(), await signedByNobody()]
    expect(
      new Set(answers.map(({ status, body }) => `${status} ${body['code']} ${body['detail']}`)).size,
    ).toBe(1)
    expect(answers[0]?.status).toBe(401)
  })
})

async function signedByNobody(): ReturnType<TestBuilder['send']> {
  const impostor = await world.addBuilder('impostor')
  await world.rows('delete from builder_key where builder_id = $1', [impostor.id])
  return impostor.hello()
}

describe('what a claim that gets nothing is told', () => {
  test('none, taken, stale, finished, unknown', async () => {
    expect(await builder.claimAnswer(['build'])).toEqual({ claimed: false, because: 'none' })
    expect(await builder.claimAnswer(['build'], { job: 'job_unknown' })).toEqual({
      claimed: false,
      because: 'unknown',
    })
    const { job, derivation: _ } = await seedBuild(world, flake)
    expect(await builder.claimAnswer(['build'], { job, attempt: 2 })).toEqual({
      claimed: false,
      because: 'stale',
    })
    const held = await builder.claim(['build'], { job, attempt: 1 })
    expect(await other.claimAnswer(['build'], { job })).toEqual({ claimed: false, because: 'taken' })
    if (held === null) throw new Error('no job was given')
    await builder.result(held, failed('infra'))
    expect(await other.claimAnswer(['build'], { job })).toEqual({
      claimed: false,
      because: 'not-yet',
      retry_in_s: 5,
    })
    await makeDue(world)
    const again = await builder.claim(['build'], { job })
    if (again === null) throw new Error('the job was lost')
    await builder.result(again, failed('build'))
    expect(await other.claimAnswer(['build'], { job })).toEqual({ claimed: false, because: 'finished' })
  })

  test('a job for another kind of machine waits for one', async () => {
    const { job } = await seedBuild(world, flake)
    const arm = await world.addBuilder('arm')
    await arm.hello({ systems: ['aarch64-linux'] })
    expect(await arm.claim(['build'])).toBeNull()
    expect(await arm.claimAnswer(['build'], { job })).toMatchObject({ because: 'not-yet' })
    const held = await builder.claim(['build'])
    expect(held?.job).toBe(job)
    if (held !== null) await builder.result(held, failed('build'))
  })

  test('a job of a flake that was deactivated ends without work', async () => {
    const idle = await world.addFlake('idle')
    const { job, derivation } = await seedBuild(world, idle)
    await world.rows('update flake set active = false where id = $1', [idle])
    expect(await builder.claimAnswer(['build'], { job })).toEqual({ claimed: false, because: 'finished' })
    expect(await world.rows('select state from job where id = $1', [job])).toEqual([{ state: 'cancelled' }])
    expect(await derivationOf(derivation)).toMatchObject({ state: 'failed', failure_class: 'cancelled' })
  })
})

test('a cancelled job tells its builder with the next heartbeat, and ends as cancelled', async () => {
  const { claimed, job, derivation } = await leased()
  const asked = await inTransaction(
    world.database.poolFor('cf_operators'),
    { tenant: world.tenant },
    (transaction) => cancelJob(transaction, job, 'an operator asked'),
  )
  expect(asked.kind).toBe('asked')
  const progress = { phase: 'build', done: 1, total: 2, unit: 'derivations' }
  expect(await builder.heartbeat(claimed, progress)).toEqual({
    status: 200,
    body: { lease_s: 60, cancel: true },
  })
  expect(await world.rows('select progress from job where id = $1', [job])).toEqual([{ progress }])
  await builder.result(claimed, failed('cancelled'))
  expect(await world.rows('select state from job where id = $1', [job])).toEqual([{ state: 'cancelled' }])
  expect(await derivationOf(derivation)).toMatchObject({ state: 'failed', failure_class: 'cancelled' })
})

test('a result about another kind of work is refused', async () => {
  const { claimed } = await leased()
  const scan = { kind: 'scan', outcome: 'no_scanner', scanner: null, findings: [] }
  expect(await builder.result(claimed, { outcome: 'succeeded', succeeded: scan })).toMatchObject({
    status: 422,
    body: { code: 'wrong_kind' },
  })
  const sent = await builder.evaluations(claimed, [
    { state: 'error', configuration: 'x', class: 'eval', message: 'x', duration_ms: 1 },
  ])
  expect(sent).toMatchObject({ status: 422, body: { code: 'wrong_kind' } })
  await builder.result(claimed, builder.built(claimed))
})

test.each(['', 'CVE', 'cve-2014-0160', 'CVE-2014-0160\n', `CVE-${'1'.repeat(41)}`, 'constructor'])(
  'a finding of %j is refused by name, not by the database',
  async (cve) => {
    await drainScans()
    const { claimed } = await leased()
    await builder.result(claimed, builder.built(claimed))
    const held = await builder.claim(['scan'])
    if (held === null) throw new Error('no scan was queued')
    const found = {
      package: 'x',
      version: '1',
      derivation: null,
      cvss3: null,
      description: null,
      whitelisted: false,
    }
    const scanned = { kind: 'scan', outcome: 'scanned', scanner: 'vulnix 1.12.3' }
    const send = (findings: object[]) =>
      builder.result(held, { outcome: 'succeeded', succeeded: { ...scanned, findings } })
    expect(await send([{ ...found, cve }])).toMatchObject({
      status: 400,
      body: {
        code: 'invalid_body',
        detail: expect.stringContaining('findings.0.cve: expected an id such as'),
      },
    })
    expect(await send([{ ...found, cve: 'CVE-2014-0160' }])).toMatchObject({ status: 200 })
  },
)

test('what no column holds is refused by name, not by the database', async () => {
  const { claimed } = await leased()
  const claim = (attempt: number) =>
    builder.send(world.jobs, 'POST /v1/builder/claims', { v: 1, kinds: ['build'], job: claimed.job, attempt })
  expect(await claim(2 ** 31)).toMatchObject({
    status: 400,
    body: { detail: expect.stringContaining('attempt') },
  })
  expect((await claim(2 ** 31 - 1)).status).toBe(200)
  const error = { state: 'error', configuration: 'x', class: 'eval', message: 'x', duration_ms: 1 }
  for (const [member, value] of [
    ['configuration', ''],
    ['duration_ms', 2 ** 31],
  ] as const)
    expect(await builder.evaluations(claimed, [{ ...error, [member]: value }])).toMatchObject({
      status: 400,
      body: { code: 'invalid_body', detail: expect.stringContaining(`evaluations.0.${member}`) },
    })
  await builder.result(claimed, builder.built(claimed))
})

test('a machine without a scanner leaves the path without a verdict, and the newest of several scans counts', async () => {
  await drainScans()
  const { claimed, derivation, outPath } = await leased()
  await builder.result(claimed, builder.built(claimed))
  const scan = async (result: object): Promise<void> => {
    const held = await builder.claim(['scan'])
    if (held === null) throw new Error('no scan was queued')
    expect(
      (await builder.result(held, { outcome: 'succeeded', succeeded: { kind: 'scan', ...result } })).status,
    ).toBe(200)
  }
  await scan({ outcome: 'no_scanner', scanner: null, findings: [] })
  const state = 'select scan_state from derivation where id = $1'
  expect(await world.rows(state, [derivation])).toEqual([{ scan_state: 'no_scanner' }])
  const one = {
    package: 'openssl',
    version: '3',
    derivation: null,
    cvss3: null,
    description: null,
    whitelisted: false,
  }
  await world.queue('scan', derivation)
  await scan({
    outcome: 'scanned',
    scanner: 'vulnix',
    findings: [
      { ...one, cve: 'CVE-2024-0001' },
      { ...one, cve: 'CVE-2024-0001', package: 'libssl' },
    ],
  })
  await world.queue('scan', derivation)
  await scan({
    outcome: 'scanned',
    scanner: 'vulnix',
    findings: [{ ...one, cve: 'CVE-2024-0001', cvss3: 9.8 }],
  })
  const scans = `select s.outcome, count(f.id) from scan s left join finding f on f.scan_id = s.id
    where s.out_path = $1 group by s.id order by s.scanned_at`
  expect(await world.rows(scans, [outPath])).toEqual([
    { outcome: 'no_scanner', count: 0 },
    { outcome: 'scanned', count: 2 },
    { outcome: 'scanned', count: 1 },
  ])
  expect(await world.rows(`select cvss3 from cve where id = 'CVE-2024-0001'`)).toEqual([{ cvss3: '9.8' }])
})

async function drainScans(): Promise<void> {
  await world.rows(`update job set state = 'cancelled' where kind = 'scan' and state = 'queued'`)
}
