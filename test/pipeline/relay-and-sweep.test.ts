import type { OutgoingMessage } from '@crystal-forge/aws'
import { relayOutbox } from '@crystal-forge/functions/relay-outbox/relay.ts'
import { type Swept, sweep } from '@crystal-forge/functions/sweep/sweep.ts'
import { type JobHint, jobHint } from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { makeDue, seedBuild } from './seed.ts'
import { createWorld, type TestBuilder, type World } from './world.ts'

let world: World
let builder: TestBuilder
let flake: string

beforeAll(async () => {
  world = await createWorld()
  builder = await world.addBuilder('b1')
  flake = await world.addFlake('fleet')
})
afterAll(() => world.close())
beforeEach(async () => {
  await world.rows('delete from outbox')
  await world.rows(
    `update job set state = 'cancelled', lease_until = null where state in ('queued', 'leased')`,
  )
  await world.rows(`update flake set next_poll_at = now() + interval '1 hour'`)
})

/** Queues that fail on demand: before the messages are stored, or after it with the answer lost; `refuse` names places in a batch. */
function queues(): {
  readonly all: Parameters<typeof relayOutbox>[0]['queues']
  readonly received: JobHint[]
  fail: 'before' | 'after' | undefined
  refuse: readonly number[]
} {
  const received: JobHint[] = []
  const state = {
    all: {} as Parameters<typeof relayOutbox>[0]['queues'],
    received,
    fail: undefined,
    refuse: [],
  }
  const send = async (messages: readonly OutgoingMessage[]) => {
    const self: { fail: 'before' | 'after' | undefined; refuse: readonly number[] } = state
    if (self.fail === 'before') throw new Error('the queue cannot be reached')
    const taken = messages.filter((_, index) => !self.refuse.includes(index))
    received.push(...taken.map(({ body }) => jobHint.parse(JSON.parse(body))))
    if (self.fail === 'after') throw new Error('the answer was lost')
    return self.refuse
      .filter((index) => index < messages.length)
      .map((index) => ({ index, code: 'Throttled', message: 'slow down' }))
  }
  state.all = { resolve: { send }, evaluate: { send }, build: { send }, scan: { send } }
  return state
}

const relay = (to: ReturnType<typeof queues>): ReturnType<typeof relayOutbox> =>
  relayOutbox({ database: world.scheduler, queues: to.all, log: () => {} })

const swept = (): Promise<Swept> =>
  sweep({ database: world.scheduler, publish: async () => {}, hintAgainS: 60, log: () => {} })

async function outboxCount(): Promise<unknown> {
  return (await world.rows('select count(*) from outbox'))[0]?.['count']
}

test('what is due is sent once and forgotten, and the job knows that it was announced', async () => {
  const { job } = await seedBuild(world, flake)
  const to = queues()
  expect(await relay(to)).toEqual({ sent: 1, refused: 0 })
  expect(to.received).toEqual([{ v: 1, job, kind: 'build', attempt: 1 }])
  expect(await relay(to)).toEqual({ sent: 0, refused: 0 })
  expect(await world.rows('select hinted_at is not null as hinted from job where id = $1', [job])).toEqual([
    { hinted: true },
  ])
})

test.each(['before', 'after'] as const)(
  'a relay that breaks off %s the queue took the messages sends them again',
  async (when) => {
    const { job } = await seedBuild(world, flake)
    const to = queues()
    to.fail = when
    await expect(relay(to)).rejects.toThrow()
    expect(await outboxCount()).toBe(1)
    to.fail = undefined
    expect(await relay(to)).toMatchObject({ sent: 1 })
    expect(new Set(to.received.map((hint) => hint.job))).toEqual(new Set([job]))
    // A hint that came twice leads to one claim.
    const claims = await Promise.all(
      to.received.map((hint) => builder.claimAnswer(['build'], { job, attempt: hint.attempt })),
    )
    expect(claims.filter(({ claimed }) => claimed)).toHaveLength(1)
  },
)

test('a claim that follows a hint waits for the relay that has not committed yet', async () => {
  const { job } = await seedBuild(world, flake)
  const relaying = await world.database.admin.connect()
  try {
    await relaying.query('begin')
    await relaying.query('update job set hinted_at = now() where id = $1', [job])
    let settled = false
    const claim = builder.claimAnswer(['build'], { job, attempt: 1 }).finally(() => {
      settled = true
    })
    await vi.waitFor(async () => {
      const waiting = await world.rows(
        `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      )
      expect(settled || waiting.length > 0).toBe(true)
    })
    await relaying.query('commit')
    expect(await claim).toMatchObject({ claimed: true, job })
  } finally {
    relaying.release()
  }
})

test('a message that the queue refuses stays, the others go', async () => {
  for (let n = 0; n < 3; n++) await seedBuild(world, flake)
  const to = queues()
  to.refuse = [1]
  expect(await relay(to)).toEqual({ sent: 2, refused: 1 })
  expect(await outboxCount()).toBe(1)
})

test('two relays at once send every message once', async () => {
  for (let n = 0; n < 30; n++) await seedBuild(world, flake)
  const to = queues()
  await Promise.all([relay(to), relay(to)])
  await relay(to)
  expect(to.received).toHaveLength(30)
  expect(new Set(to.received.map(({ job }) => job)).size).toBe(30)
})

test('a hint for later waits', async () => {
  const { job } = await seedBuild(world, flake)
  const held = await builder.claim(['build'], { job })
  if (held === null) throw new Error('no job was given')
  await world.rows('delete from outbox')
  await builder.result(held, { outcome: 'failed', class: 'infra', message: 'no space left on device' })
  const to = queues()
  expect(await relay(to)).toEqual({ sent: 0, refused: 0 })
  await world.rows('update outbox set not_before = now()')
  await relay(to)
  expect(to.received).toEqual([{ v: 1, job, kind: 'build', attempt: 2 }])
})

test('the sweep takes leases back that ran out, and leaves the others', async () => {
  const gone = await seedBuild(world, flake)
  const alive = await seedBuild(world, flake)
  await builder.claim(['build'], { job: gone.job })
  await builder.claim(['build'], { job: alive.job })
  await world.rows(`update job set lease_until = now() - interval '1 second' where id = $1`, [gone.job])
  expect(await swept()).toMatchObject({ expired: 1, failed: 0 })
  expect(
    await world.rows('select state, attempt, failure_class from job where id = any ($1) order by attempt', [
      [gone.job, alive.job],
    ]),
  ).toEqual([
    { state: 'leased', attempt: 1, failure_class: null },
    { state: 'queued', attempt: 2, failure_class: 'infra' },
  ])
})

test('a job whose message got lost is announced again, once a minute', async () => {
  const { job } = await seedBuild(world, flake)
  await world.rows('delete from outbox')
  expect(await swept()).toMatchObject({ hinted: 0 })
  await world.rows(`update job set created_at = now() - interval '2 minutes' where id = $1`, [job])
  expect(await swept()).toMatchObject({ hinted: 1 })
  expect(await swept()).toMatchObject({ hinted: 0 })
  const to = queues()
  await relay(to)
  expect(to.received).toEqual([{ v: 1, job, kind: 'build', attempt: 1 }])
})

test('flakes are polled when they are due, and only those that want to be', async () => {
  await world.rows(`update flake set next_poll_at = now() - interval '1 second' where id = $1`, [flake])
  const quiet = await world.addFlake('quiet')
  await world.rows('update flake set auto_poll = false where id = $1', [quiet])
  expect(await swept()).toMatchObject({ polled: 1 })
  expect(await swept()).toMatchObject({ polled: 0 })
  expect(await world.rows(`select subject from job where kind = 'resolve' and state = 'queued'`)).toEqual([
    { subject: flake },
  ])
})

test('what hosts should run is scanned again after a day', async () => {
  const { derivation } = await seedBuild(world, flake)
  await world.rows(
    `update derivation set state = 'cached', scan_state = 'scanned', scanned_at = now() - interval '25 hours' where id = $1`,
    [derivation],
  )
  expect(await swept()).toMatchObject({ rescanned: 0 })
  await world.rows(
    `update configuration g set desired_evaluation_id = e.id, desired_position = 1 from evaluation e
     where e.configuration_id = g.id and e.derivation_id = $1`,
    [derivation],
  )
  expect(await swept()).toMatchObject({ rescanned: 1 })
  expect(await swept()).toMatchObject({ rescanned: 0 })
})

test('deliveries of a month ago, receipts of two days ago and orders out of time are put away', async () => {
  const hook = await world.addHook(flake, 'github', 'a-secret-of-16-bytes')
  await world.rows(
    `insert into hook_delivery (hook_id, delivery_id, tenant_id, body_sha256, received_at, outcome)
     values ($1, 'old', $2, 'x', now() - interval '31 days', 'accepted'), ($1, 'new', $2, 'y', now(), 'accepted')`,
    [hook, world.tenant],
  )
  await world.addSystem('web-1', flake, 'web-1')
  const [system] = await world.rows('select id from system')
  await world.rows(
    `insert into report_receipt (system_id, report_id, tenant_id, kind, digest, received_at)
     values ($1, 'r1', $2, 'state', 'x', now() - interval '49 hours')`,
    [system?.['id'], world.tenant],
  )
  const order = (expires: string): object => ({
    payload: Buffer.from(JSON.stringify({ expires })).toString('base64'),
  })
  await world.rows(
    `insert into deployment (tenant_id, system_id, sequence, toplevel, state, envelope, created_by)
     values ($1, $2, 1, 'x', 'ordered', $3, 'x'), ($1, $2, 2, 'x', 'ordered', $4, 'x')`,
    [world.tenant, system?.['id'], order('2020-01-01T00:00:00Z'), order('2100-01-01T00:00:00Z')],
  )
  expect(await swept()).toMatchObject({ deliveries: 1, receipts: 1, deployments: 1, failed: 0 })
  expect(await world.rows('select delivery_id from hook_delivery')).toEqual([{ delivery_id: 'new' }])
})

test('one tenant’s trouble does not keep the leases of the others', async () => {
  const { job } = await seedBuild(world, flake)
  await builder.claim(['build'], { job })
  await world.rows(`update job set lease_until = now() - interval '1 second' where id = $1`, [job])
  await world.rows(
    `insert into store_path (tenant_id, path, nar_hash, nar_size, reference_ids, url, compression, file_hash, file_size, signature, builder_id, committed_at)
     values ($1, '/nix/store/00000000000000000000000000000000-x', 'sha256-x', 1, '{}', 'x', 'zstd', 'x', 1, 'k:s', $2, now() - interval '1 hour')`,
    [world.tenant, builder.id],
  )
  const logged: string[] = []
  const done = await sweep({
    database: world.scheduler,
    publish: () => Promise.reject(new Error('the bucket is gone')),
    hintAgainS: 60,
    log: (_, message) => logged.push(message),
  })
  expect(done).toMatchObject({ expired: 1, failed: 1 })
  expect(logged).toContain('a piece of the sweep failed')
  await makeDue(world)
})
