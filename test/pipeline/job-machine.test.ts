import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expire, makeDue, seedBuild } from './seed.ts'
import { type Claimed, createWorld, type TestBuilder, type World } from './world.ts'

let world: World
let builders: TestBuilder[]
let flake: string

beforeAll(async () => {
  world = await createWorld()
  builders = [await world.addBuilder('b1'), await world.addBuilder('b2')]
  flake = await world.addFlake('fleet')
})
afterAll(() => world.close())

type Hold = { readonly claimed: Claimed; readonly by: TestBuilder; first: unknown }
type Step =
  | { readonly do: 'claim'; readonly who: number }
  | { readonly do: 'heartbeat' | 'succeed' | 'infra' | 'oom' | 'verdict'; readonly hold: number }
  | { readonly do: 'expire' | 'wait' | 'push' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('claim' as const), who: fc.nat(1) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('heartbeat', 'succeed', 'infra', 'oom', 'verdict' as const),
      hold: fc.nat(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('expire', 'wait', 'push' as const) }) },
)

test('whatever builders, clocks and retries do: one live fence, no lost job, every effect once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const { job, derivation } = await seedBuild(world, flake)
      const holds: Hold[] = []
      for (const one of steps) {
        await carryOut(one, { job, derivation, holds })
        await audit(job, derivation)
      }
      await endOpenJob(job)
    }),
    { numRuns: 30 },
  )
})

test('of many builders that claim one job at once, one gets it', async () => {
  const { job } = await seedBuild(world, flake)
  const many = await Promise.all(
    Array.from({ length: 8 }, (_, n) => builders[n % 2]?.claim(['build'], { job })),
  )
  expect(many.filter((claimed) => claimed)).toHaveLength(1)
  await audit(job, '')
  await endOpenJob(job)
})

async function carryOut(one: Step, state: { job: string; derivation: string; holds: Hold[] }): Promise<void> {
  const { job, derivation, holds } = state
  switch (one.do) {
    case 'claim': {
      const by = builders[one.who]
      const claimed = await by?.claim(['build'], { job })
      if (claimed && by) holds.push({ claimed, by, first: undefined })
      return
    }
    case 'expire':
      await expire(world, job)
      return
    case 'wait':
      await makeDue(world)
      return
    case 'push':
      // The same derivation is wanted again: there is an open job or a verdict, so nothing may be added.
      await world.rows(`select set_config('cf.tenant', $1, false), enqueue_build($2)`, [
        world.tenant,
        derivation,
      ])
      return
    case 'heartbeat':
    case 'succeed':
    case 'infra':
    case 'oom':
    case 'verdict': {
      const hold = holds[one.hold % Math.max(holds.length, 1)]
      if (hold !== undefined) await report(one.do, hold)
    }
  }
}

/** Sends a message with a fence that was given out once, and holds the answer against what the job says. */
async function report(
  what: 'heartbeat' | 'succeed' | 'infra' | 'oom' | 'verdict',
  hold: Hold,
): Promise<void> {
  const { claimed, by } = hold
  const [row] = await world.rows('select state, fence from job where id = $1', [claimed.job])
  const live = row?.['state'] === 'leased' && row['fence'] === claimed.fence
  if (what === 'heartbeat') {
    expect((await by.heartbeat(claimed)).status).toBe(live ? 200 : 409)
    return
  }
  const failed = (name: string): object => ({ outcome: 'failed', class: name, message: `${name} happened` })
  const message = what === 'succeed' ? by.built(claimed) : failed(what === 'verdict' ? 'build' : what)
  const answer = await by.result(claimed, message)
  if (live) {
    expect(answer.status).toBe(200)
    hold.first = answer.body
  } else if (hold.first !== undefined) expect(answer).toEqual({ status: 200, body: hold.first })
  else expect(answer).toMatchObject({ status: 409, body: { code: 'stale_fence' } })
}

async function audit(job: string, derivation: string): Promise<void> {
  const [now] = await world.rows(
    `select j.state, j.attempt, j.fence,
       (select count(*) from job_attempt a where a.job_id = j.id and a.outcome = 'running') as running,
       (select max(a.fence) from job_attempt a where a.job_id = j.id) as newest,
       (select count(*) from job_attempt a where a.job_id = j.id and a.outcome = 'succeeded') as succeeded,
       (select count(distinct a.attempt) from job_attempt a where a.job_id = j.id) as attempts,
       (select count(distinct a.fence) from job_attempt a where a.job_id = j.id) as fences,
       (select count(*) from outbox o where o.body ->> 'job' = j.id and (o.body ->> 'attempt')::integer = j.attempt) as hints,
       (select count(*) from job o where o.subject = j.subject and o.kind = 'build' and o.state in ('queued', 'leased')) as open,
       (select count(*) from job o where o.subject = j.subject and o.kind = 'scan') as scans,
       (select count(*) from audit_event e where e.type = 'build.attested'
          and convert_from(e.body, 'UTF8')::jsonb ->> 'job' = j.id) as attested,
       (select count(*) from job_attempt a where a.job_id = j.id and a.outcome = 'late') as late,
       (select count(*) from audit_event e where e.type = 'job.late_result'
          and convert_from(e.body, 'UTF8')::jsonb ->> 'job' = j.id) as late_events
     from job j where j.id = $1`,
    [job],
  )
  if (now === undefined) throw new Error('the job is gone')
  const leased = now['state'] === 'leased'
  const succeeded = now['state'] === 'succeeded' ? 1 : 0
  expect(now['running']).toBe(leased ? 1 : 0)
  if (leased) expect(now['fence']).toBe(now['newest'])
  expect(now['attempts']).toBe(now['fences'])
  if (now['state'] === 'queued') expect(now['hints']).toBeGreaterThan(0)
  expect([now['succeeded'], now['attested'], now['scans']]).toEqual([succeeded, succeeded, succeeded])
  expect(now['late']).toBe(now['late_events'])
  if (derivation === '') return
  const [drv] = await world.rows('select state, failure_class from derivation where id = $1', [derivation])
  const expected = {
    queued: 'pending',
    leased: 'building',
    succeeded: 'built',
    failed: 'failed',
    cancelled: 'failed',
  }
  // After a failure of the machine a push opens a new job about the same derivation.
  if (now['open'] === 0 || now['state'] === 'queued' || leased)
    expect(drv?.['state']).toBe(expected[now['state'] as keyof typeof expected])
}

async function endOpenJob(job: string): Promise<void> {
  await world.rows(
    `update job set state = 'cancelled', lease_until = null
     where state in ('queued', 'leased') and subject = (select subject from job where id = $1)`,
    [job],
  )
}
