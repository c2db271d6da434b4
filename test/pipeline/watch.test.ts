import { watch } from '@crystal-forge/functions/sweep/watch.ts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

test('what stands still grows: the outbox, waiting jobs, silent builders and hosts', async () => {
  expect(await watch(world.scheduler)).toMatchObject({
    outboxAgeS: 0,
    jobWaitingS: 0,
    buildersSilent: 0,
    hostsSilentPercent: 0,
  })
  const flake = await world.addFlake('fleet')
  await world.queue('resolve', flake)
  await world.rows(
    `update outbox set (created_at, not_before) = row(now() - interval '5 minutes', now() - interval '5 minutes')`,
  )
  await world.rows(
    `update job set (created_at, not_before) = row(now() - interval '2 hours', now() - interval '2 hours')`,
  )
  await world.addBuilder('b1')
  await world.rows(`update builder set last_seen_at = now() - interval '16 minutes'`)
  for (const [hostname, ago] of [
    ['web-1', '1 minute'],
    ['web-2', '2 hours'],
    ['web-3', '2 hours'],
    ['web-4', '1 minute'],
  ]) {
    await world.addSystem(hostname ?? '', flake, 'web')
    await world.rows(
      `insert into system_current (system_id, tenant_id, state_id, digest, current_path, assurance, collected_at, state_received_at, seen_at)
       select id, tenant_id, 'x', '', '/nix/store/x', 'signed', now(), now(), now() - $2::interval from system where hostname = $1`,
      [hostname, ago],
    )
  }
  expect(await watch(world.scheduler)).toMatchObject({
    outboxAgeS: expect.closeTo(300, -2),
    jobWaitingS: expect.closeTo(7200, -2),
    buildersSilent: 1,
    hostsSilentPercent: 50,
  })
})

test('hours for which nonces have a table are counted', async () => {
  const { nonceHoursAhead } = await watch(world.scheduler)
  expect(nonceHoursAhead).toBeGreaterThan(40)
  const [next] = await world.rows(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'request_nonce'::regclass order by c.relname desc limit 1 offset 1`,
  )
  await world.rows(`drop table ${next?.['name']}`)
  expect((await watch(world.scheduler)).nonceHoursAhead).toBe(nonceHoursAhead - 1)
})
