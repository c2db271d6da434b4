import { type Swept, sweep } from '@crystal-forge/functions/sweep/sweep.ts'
import { turnWaivers } from '@crystal-forge/functions/sweep/waivers.ts'
import { watch } from '@crystal-forge/functions/sweep/watch.ts'
import { type Database, inTransaction, notifyWaivers } from '@crystal-forge/postgres'
import type { PoolClient } from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createWorld, type World } from './world.ts'

let world: World
beforeEach(async () => {
  world = await createWorld()
})
afterEach(() => world.close())

type Waiver = { readonly name: string; readonly approved: string | null; readonly ends: string }

/** Submitted, and unless `approved` is null approved at that time; both times as intervals from now. */
async function waiver({ name, approved, ends }: Waiver): Promise<void> {
  await world.rows(
    `with made as (
       insert into waiver (tenant_id, name, rules, scope, type, justification, source, author, expires_at)
       select id, $1, '{V-268139}', '{"kind": "fleet"}', 'risk_accepted', 'for a while', 'operator', 'ada', now() + $2::interval
       from tenant returning id, tenant_id)
     insert into waiver_transition (tenant_id, waiver_id, step, state, person, at)
     select tenant_id, id, step, state, case state when 'approved' then 'grace' else 'ada' end, now() + coalesce($3::interval, '-1 hour')
     from made, (values (1, 'draft'), (2, 'submitted'), (3, 'approved')) s(step, state)
     where state <> 'approved' or $3 is not null order by step`,
    [name, ends, approved],
  )
}

const sweepOnce = (): Promise<Swept> =>
  sweep({ database: world.scheduler, publish: async () => {}, hintAgainS: 60, log: () => {} })

/** What the evidence log says of waivers, and what is written down beside it. */
async function told(): Promise<string[]> {
  const events = await world.rows(
    `select convert_from(body, 'UTF8')::jsonb as body from audit_event where type in ('waiver.expiring', 'waiver.expired') order by id`,
  )
  return events.map(({ body }) => {
    const { type, name, days_before: days } = body as { type: string; name: string; days_before?: number }
    return type === 'waiver.expired' ? `${name}: over` : `${name}: ${days}`
  })
}

test.each<[what: string, waiver: Omit<Waiver, 'name'>, said: string[]]>([
  ['ends in 31 days', { approved: '-60 days', ends: '31 days' }, []],
  ['ends in 29 days', { approved: '-60 days', ends: '29 days' }, ['w: 30']],
  ['ends in 6 days', { approved: '-60 days', ends: '6 days' }, ['w: 7']],
  ['ends today, after sweeps that did not run', { approved: '-60 days', ends: '5 hours' }, ['w: 1']],
  ['is over', { approved: '-60 days', ends: '-1 minute' }, ['w: over']],
  ['was approved a moment ago for five days', { approved: '-1 minute', ends: '5 days' }, []],
  ['was approved for ten days, six days ago', { approved: '-6 days', ends: '4 days' }, ['w: 7']],
  ['was approved for an hour', { approved: '-30 minutes', ends: '30 minutes' }, []],
  ['was never approved', { approved: null, ends: '5 days' }, []],
])('of a waiver that %s it is said what is due, and once', async (_, facts, said) => {
  await waiver({ name: 'w', ...facts })
  const first = await sweepOnce()
  expect(first.notices + first.waivers).toBe(said.length)
  expect(await told()).toEqual(said)
  expect(await sweepOnce()).toMatchObject({ notices: 0, waivers: 0, failed: 0 })
  expect(await told()).toEqual(said)
})

test('what was said 30 days before is said again 7 days before, and never the other way round', async () => {
  await waiver({ name: 'w', approved: '-60 days', ends: '6 days' })
  await world.rows(
    `insert into waiver_notice (tenant_id, waiver_id, days_before) select tenant_id, id, 30 from waiver`,
  )
  await sweepOnce()
  expect(await told()).toEqual(['w: 7'])
  await expect(world.rows('update waiver_notice set days_before = 1')).rejects.toThrow(/append-only/)
})

test('an event names the waiver, its end and who answers for it', async () => {
  await waiver({ name: 'w', approved: '-60 days', ends: '29 days' })
  await sweepOnce()
  const [event] = await world.rows(
    `select convert_from(body, 'UTF8')::jsonb as body from audit_event where type = 'waiver.expiring'`,
  )
  expect(event?.['body']).toMatchObject({
    actor: { kind: 'system', name: 'sweep' },
    name: 'w',
    rules: ['V-268139'],
    author: 'ada',
    approver: 'grace',
    owner: null,
    days_before: 30,
    expires_at: expect.stringMatching(/^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$/),
  })
})

test('three sweeps at once say each thing once', async () => {
  const names = Array.from({ length: 12 }, (_, n) => `w${String(n).padStart(2, '0')}`)
  for (const [n, name] of names.entries())
    await waiver({ name, approved: '-60 days', ends: n % 3 === 0 ? '-1 minute' : '6 days' })
  const swept = await Promise.all([sweepOnce(), sweepOnce(), sweepOnce()])
  expect(swept.map(({ failed }) => failed)).toEqual([0, 0, 0])
  expect(swept.reduce((sum, one) => sum + one.notices + one.waivers, 0)).toBe(12)
  expect((await told()).sort()).toEqual(names.map((name, n) => `${name}: ${n % 3 === 0 ? 'over' : 7}`))
})

/** A sweep that has said what is due, and has not committed. */
async function halfway(): Promise<PoolClient> {
  const client = await world.scheduler.connect()
  client.on('error', () => {})
  const [tenant] = await world.rows('select id from tenant')
  await client.query('begin')
  await client.query(`select set_config('cf.tenant', $1, true)`, [tenant?.['id']])
  const { waivers, notices } = await turnWaivers(client, 10)
  expect(waivers + notices).toBe(1)
  return client
}

describe.each([
  ['ends soon', '6 days', 'w: 7'],
  ['is over', '-1 minute', 'w: over'],
])('of a waiver that %s', (_, ends, said) => {
  beforeEach(() => waiver({ name: 'w', approved: '-60 days', ends }))

  test('two sweeps that wait for a third one say nothing when it commits', async () => {
    const first = await halfway()
    const waiting = [sweepOnce(), sweepOnce()]
    await untilBlocked(2)
    await first.query('commit')
    first.release()
    for (const one of waiting) expect(await one).toMatchObject({ waivers: 0, notices: 0, failed: 0 })
    expect(await told()).toEqual([said])
  })

  test('a sweep that dies before it commits has said nothing, and one of those that wait says it', async () => {
    const dying = await halfway()
    const { rows } = await dying.query<{ pid: number }>('select pg_backend_pid() as pid')
    const waiting = [sweepOnce(), sweepOnce()]
    await untilBlocked(2)
    expect(await told()).toEqual([])
    await world.rows('select pg_terminate_backend($1)', [rows[0]?.pid])
    const swept = await Promise.all(waiting)
    expect(swept.map(({ failed }) => failed)).toEqual([0, 0])
    expect(swept.reduce((sum, one) => sum + one.notices + one.waivers, 0)).toBe(1)
    dying.release(true)
    expect(await told()).toEqual([said])
  })
})

test('a sweep whose commit took effect and whose answer was lost is not repeated', async () => {
  await waiver({ name: 'w', approved: '-60 days', ends: '6 days' })
  const [{ id: tenant }] = (await world.rows('select id from tenant')) as [{ id: string }]
  const lost = inTransaction(world.scheduler, { tenant }, (transaction: Database) =>
    notifyWaivers(transaction, 10),
  ).then(() => Promise.reject(new Error('the connection broke after the commit')))
  await expect(lost).rejects.toThrow(/after the commit/)
  expect(await sweepOnce()).toMatchObject({ notices: 0 })
  expect(await told()).toEqual(['w: 7'])
})

test('how many waivers end soon is measured', async () => {
  await waiver({ name: 'soon', approved: '-60 days', ends: '29 days' })
  await waiver({ name: 'fresh', approved: '-1 minute', ends: '3 days' })
  await waiver({ name: 'later', approved: '-60 days', ends: '31 days' })
  await waiver({ name: 'over', approved: '-60 days', ends: '-1 day' })
  await waiver({ name: 'open', approved: null, ends: '3 days' })
  const watched = await watch({
    database: world.scheduler,
    expiryDays: 14,
    revocationListEndsAt: undefined,
    now: () => new Date(),
  })
  expect(watched.waiversExpiring).toBe(2)
})

/** Until so many sessions wait for a lock of another one. */
async function untilBlocked(many: number): Promise<void> {
  for (;;) {
    const blocked = await world.rows(
      `select pid from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
    )
    if (blocked.length >= many) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
