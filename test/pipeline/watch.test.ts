import { app } from '@crystal-forge/functions/sweep/app.ts'
import { type Watched, watch } from '@crystal-forge/functions/sweep/watch.ts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

const watched = (revocationListEndsAt?: Date): Promise<Watched> =>
  watch({
    database: world.scheduler,
    expiryDays: 14,
    revocationListEndsAt,
    now: () => new Date('2027-01-01T00:00:00Z'),
  })

test('what stands still grows: the outbox, waiting jobs, silent builders and hosts', async () => {
  expect(await watched()).toMatchObject({
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
  expect(await watched()).toMatchObject({
    outboxAgeS: expect.closeTo(300, -2),
    jobWaitingS: expect.closeTo(7200, -2),
    buildersSilent: 1,
    hostsSilentPercent: 50,
  })
})

test('hours for which nonces have a table are counted', async () => {
  const { nonceHoursAhead } = await watched()
  expect(nonceHoursAhead).toBeGreaterThan(40)
  const [next] = await world.rows(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'request_nonce'::regclass order by c.relname desc limit 1 offset 1`,
  )
  await world.rows(`drop table ${next?.['name']}`)
  expect((await watched()).nonceHoursAhead).toBe(nonceHoursAhead - 1)
})

test.each([
  ['90 days', '13 days', null, 1],
  ['90 days', '15 days', null, 0],
  // It was made for a week and is meant to end.
  ['7 days', '3 days', null, 0],
  ['90 days', '-1 day', null, 0],
  ['90 days', '3 days', 'now()', 0],
])('a token made for %s that ends in %s (revoked: %s) counts %i', async (life, left, revoked, count) => {
  await world.rows('delete from api_token')
  await world.rows(
    `insert into api_token (tenant_id, name, role, token_sha256, created_by, created_at, expires_at, revoked_at)
     select id, 'ci', 'operator', repeat('a', 64), 'me', now() + $1::interval - $2::interval, now() + $1::interval, $3::timestamptz from tenant`,
    [left, life, revoked],
  )
  expect((await watched()).tokensEnding).toBe(count)
})

test('a token that has a successor ends quietly: later, of its name, for the same person and role', async () => {
  await world.rows('delete from api_token')
  for (const [digest, age, left] of [
    ['b', '87 days', '3 days'],
    ['c', '10 days', '80 days'],
  ])
    await world.rows(
      `insert into api_token (tenant_id, name, role, subject, token_sha256, created_by, created_at, expires_at)
       select id, 'ci', 'operator', 'ada@example.com', repeat($1, 64), 'me', now() - $2::interval, now() + $3::interval from tenant`,
      [digest, age, left],
    )
  expect((await watched()).tokensEnding).toBe(0)
  for (const another of [
    `name = 'other'`,
    `role = 'viewer'`,
    `subject = 'grace@example.com'`,
    `created_at = now() - interval '100 days'`,
  ]) {
    const column = another.split(' ')[0]
    const [before] = await world.rows(
      `select ${column} as value from api_token where token_sha256 = repeat('c', 64)`,
    )
    await world.rows(`update api_token set ${another} where token_sha256 = repeat('c', 64)`)
    expect([another, (await watched()).tokensEnding]).toEqual([another, 1])
    await world.rows(`update api_token set ${column} = $1 where token_sha256 = repeat('c', 64)`, [
      before?.['value'],
    ])
  }
})

test('the oldest key that somebody may still sign with has an age', async () => {
  expect((await watched()).keyAgeDays).toBe(0)
  await world.rows(`update builder_key set created_at = now() - interval '400 days'`)
  expect((await watched()).keyAgeDays).toBe(400)
  await world.rows(`update builder_key set status = 'revoked'`)
  expect((await watched()).keyAgeDays).toBe(0)
})

test.each([
  ['2027-01-15T00:00:00Z', 14],
  ['2027-01-14T23:59:59Z', 13],
  ['2026-12-31T00:00:00Z', -1],
])('a revocation list that ends at %s has %i days left', async (endsAt, days) => {
  expect((await watched(new Date(endsAt))).revocationListDaysLeft).toBe(days)
})

test('what does not exist is not measured', async () => {
  expect(Object.keys(await watched())).not.toContain('revocationListDaysLeft')
  // The database of the tests keeps no archive of its log.
  expect(Object.keys(await watched())).not.toContain('backupAgeS')
})

test('a sweep that fails has measured before, and says why it failed', async () => {
  const lines: { message: string; fields: Record<string, unknown> }[] = []
  await world.rows('alter function turn_nonce_partitions rename to turned_away')
  const sweep = app(
    {
      database: world.databaseConfig('cf_scheduler'),
      aws: { region: 'eu-test-1', endpoint: {} },
      cacheBucket: 'cache',
      hintAgainS: 60,
      expiryDays: 14,
      revocationListEndsAt: undefined,
      relayQueue: undefined,
    },
    { log: (_level, message, fields = {}) => void lines.push({ message, fields }) },
  )
  try {
    await expect(sweep.handler()).rejects.toThrow(/turn_nonce_partitions/)
    expect(lines.map(({ message }) => message)).toEqual(['watch', 'sweep failed'])
    expect(lines[0]?.fields).toHaveProperty('nonceHoursAhead')
  } finally {
    await sweep.close()
    await world.rows('alter function turned_away rename to turn_nonce_partitions')
  }
})
