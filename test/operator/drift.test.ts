import { healthOf, verdictOf } from '@crystal-forge/control-plane'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type OperatorWorld, operatorWorld, path, rev } from './world.ts'

let world: OperatorWorld

beforeAll(async () => {
  world = await operatorWorld()
  const systems = [
    'web-1',
    'web-2',
    'db-1',
    'stray',
    'swapped',
    'broken-eval',
    'broken-build',
    'silent',
    'loose',
    'fixed',
  ]
  const answer = await world.api('PUT', '/v1/fleet', {
    body: {
      flakes: [{ name: 'fleet', repo_url: 'https://git.example.com/ops/fleet', auto_poll: false }],
      systems: systems.map((hostname) => ({
        hostname,
        environment: 'production',
        ...(hostname === 'loose' ? {} : { flake_name: 'fleet' }),
        ...(hostname === 'stray' || hostname === 'swapped' || hostname === 'silent'
          ? { configuration: 'web-1' }
          : {}),
        ...(hostname === 'fixed'
          ? { deployment_policy: 'pinned', desired_target: path('a', 'old'), configuration: 'web-1' }
          : {}),
      })),
    },
  })
  expect(answer).toMatchObject({ status: 200, body: { applied: true } })
  await world.commits('fleet', [rev('1')])
  await world.evaluate(rev('1'), 'web-1', { outPath: path('a', 'old') })
  await world.evaluate(rev('1'), 'web-2', { outPath: path('b', 'same') })
  await world.evaluate(rev('1'), 'db-1', { outPath: path('c', 'db') })
  await world.evaluate(rev('1'), 'broken-build', { outPath: path('d', 'good') })
  await world.commits('fleet', [rev('2'), rev('3')])
  for (const one of [rev('2'), rev('3')]) {
    await world.evaluate(one, 'web-1', { outPath: path('f', 'new') })
    await world.evaluate(one, 'web-2', { outPath: path('b', 'same') })
    await world.evaluate(one, 'db-1', { outPath: path(one === rev('3') ? 'h' : 'g', 'db') })
    await world.evaluate(one, 'broken-eval', { error: 'error: services.frobnicate does not exist' })
    await world.evaluate(one, 'broken-build', { outPath: path('i', 'bad') })
  }
  await world.built(path('a', 'old'), [
    path('a', 'old'),
    path('j', 'nginx-1.26.1'),
    path('k', 'openssl-3.0.13'),
  ])
  await world.built(path('f', 'new'), [
    path('f', 'new'),
    path('l', 'nginx-1.26.2'),
    path('k', 'openssl-3.0.13'),
  ])
  await world.database.admin.query(
    `update derivation set state = 'failed', error = 'builder for nginx failed' where out_path = $1`,
    [path('i', 'bad')],
  )
  await world.report('web-1', { current: path('a', 'old'), booted: path('m', 'booted') })
  await world.report('web-2', { current: path('b', 'same'), profile: path('n', 'profile') })
  await world.report('db-1', { current: path('c', 'db') })
  await world.report('stray', { current: path('z', 'unknown') })
  await world.report('swapped', { current: path('h', 'db'), secondsAgo: 20 * 60 })
  await world.report('broken-eval', { current: path('z', 'unknown'), secondsAgo: 5 * 3600 })
  await world.report('broken-build', { current: path('d', 'good') })
  await world.report('loose', { current: path('a', 'old') })
  await world.report('fixed', { current: path('a', 'old') })
})
afterAll(() => world.stop())

test('each host gets the verdict of its own configuration, with its own error text', async () => {
  const { body } = await world.api('GET', '/v1/drift', { role: 'viewer' })
  const verdicts = Object.fromEntries(
    body.items.map((row: { hostname: string; verdict: string }) => [row.hostname, row.verdict]),
  )
  expect(verdicts).toEqual({
    'broken-build': 'build_failed',
    'broken-eval': 'evaluation_failed',
    'db-1': 'building',
    fixed: 'up_to_date',
    loose: 'untracked',
    silent: 'never_seen',
    stray: 'unattributed',
    swapped: 'unattributed',
    'web-1': 'behind',
    'web-2': 'up_to_date',
  })
  expect(body.verdicts).toMatchObject({ up_to_date: 2, unattributed: 2, behind: 1 })
  const row = (hostname: string) => body.items.find((one: { hostname: string }) => one.hostname === hostname)
  expect(row('web-1')).toMatchObject({
    commits_behind: 2,
    because: 'it is 2 commits behind',
    desired_rev: rev('3'),
    running_rev: rev('1'),
    reboot_needed: true,
    not_persisted: false,
  })
  expect(row('web-2')).toMatchObject({ not_persisted: true, commits_behind: 0, running_rev: rev('3') })
  expect(row('broken-eval').evaluation_error).toContain('frobnicate')
  expect(row('broken-build').build_error).toBe('builder for nginx failed')
  expect(row('swapped')).toMatchObject({
    attributed_to: { flake: 'fleet', configuration: 'db-1' },
    because: 'it runs fleet#db-1 instead of fleet#web-1',
    health: 'warning',
  })
  expect(row('stray').attributed_to).toBeNull()
})

test('the drift of one host names the missed commits and the packages that differ', async () => {
  const { body } = await world.api('GET', '/v1/systems/web-1/drift', { role: 'viewer' })
  expect(body).toMatchObject({
    verdict: 'behind',
    desired_path: path('f', 'new'),
    profile_path: path('a', 'old'),
    current_path: path('a', 'old'),
    booted_path: path('m', 'booted'),
    closure_unknown: null,
    packages: {
      changed: [{ name: 'nginx', from: ['1.26.1'], to: ['1.26.2'] }],
      added: [{ name: 'new', versions: [''] }],
      removed: [{ name: 'old', versions: [''] }],
    },
    findings: { scan_state: 'unscanned', items: [] },
  })
  expect(body.commits.map((one: { rev: string }) => one.rev)).toEqual([rev('3'), rev('2')])
})

test('an unknown closure is said to be unknown and never an empty difference', async () => {
  const stray = await world.api('GET', '/v1/systems/stray/drift')
  expect(stray.body).toMatchObject({ packages: null, closure_unknown: 'running' })
  const db = await world.api('GET', '/v1/systems/db-1/drift')
  expect(db.body).toMatchObject({ packages: null, closure_unknown: 'both' })
})

test('filters by verdict, health, flake, environment and part of the name agree with the whole list', async () => {
  const names = async (query: string): Promise<string[]> =>
    (await world.api('GET', `/v1/drift?${query}`)).body.items.map((one: { hostname: string }) => one.hostname)
  expect(await names('verdict=unattributed')).toEqual(['stray', 'swapped'])
  expect(await names('health=offline')).toEqual(['broken-eval'])
  expect(await names('health=never_seen')).toEqual(['silent'])
  expect(await names('q=WEB&flake=fleet&environment=production')).toEqual(['web-1', 'web-2'])
  expect(await names('flake=other')).toEqual([])
})

async function expectOneVerdict(): Promise<void> {
  const rows = await world.rows(
    'select d.hostname, d.verdict, v.verdict as listed from system_drift d join system_verdict v using (system_id)',
  )
  expect(rows.length).toBeGreaterThan(0)
  expect(rows.filter((row) => row['verdict'] !== row['listed'])).toEqual([])
}

test('lists and details give a host the same verdict', expectOneVerdict)

test('a commit that fails as a whole is an evaluation failure of every host that follows the flake', async () => {
  await world.commits('fleet', [rev('4')])
  await world.rows(`update commit set state = 'failed', error = 'flake.nix: syntax error' where rev = $1`, [
    rev('4'),
  ])
  const { body } = await world.api('GET', '/v1/systems/web-2/drift')
  expect(body).toMatchObject({
    verdict: 'evaluation_failed',
    evaluation_error: 'flake.nix: syntax error',
    evaluation_error_rev: rev('4'),
  })
  expect((await world.api('GET', '/v1/systems/fixed/drift')).body.verdict).toBe('up_to_date')
  await expectOneVerdict()
  await world.rows(
    'delete from outbox where body ->> $1 in (select id from job where subject in (select id from commit where rev = $2))',
    ['job', rev('4')],
  )
  await world.rows('delete from job where subject in (select id from commit where rev = $1)', [rev('4')])
  await world.rows('delete from commit where rev = $1', [rev('4')])
})

test('the view of the original has its columns and words', async () => {
  const rows = await world.rows('select * from view_system_deployment_status order by hostname')
  const status = Object.fromEntries(rows.map((row) => [row['hostname'], row['deployment_status']]))
  expect(status).toMatchObject({
    'web-1': 'behind',
    'web-2': 'up_to_date',
    silent: 'no_deployment',
    stray: 'unknown',
    loose: 'unknown',
  })
  expect(Object.keys(rows[0] ?? {})).toEqual([
    'hostname',
    'current_store_path',
    'deployment_time',
    'current_commit_hash',
    'current_commit_timestamp',
    'latest_commit_hash',
    'latest_commit_timestamp',
    'commits_behind',
    'flake_name',
    'deployment_status',
    'status_description',
  ])
  const beats = await world.rows('select * from view_system_heartbeat_status order by hostname')
  expect(beats.map((row) => [row['hostname'], row['heartbeat_status']])).toContainEqual([
    'broken-eval',
    'Offline',
  ])
  expect(beats.map((row) => row['hostname'])).not.toContain('silent')
  expect(Object.keys(beats[0] ?? {})).toEqual([
    'hostname',
    'heartbeat_status',
    'most_recent_activity',
    'last_heartbeat',
    'last_state_change',
    'minutes_since_last_activity',
    'status_description',
  ])
})

test('the rule in SQL and the one that explains it say the same about any facts', async () => {
  const facts = fc.record({
    seen: fc.boolean(),
    tracked: fc.boolean(),
    pinned: fc.boolean(),
    evaluated: fc.boolean(),
    latestFailed: fc.boolean(),
    desiredKnown: fc.boolean(),
    onDesiredPath: fc.boolean(),
    buildState: fc.constantFrom('pending', 'building', 'built', 'cached', 'failed', null),
    desiredPosition: fc.option(fc.integer({ min: 1, max: 3 })),
    runningPosition: fc.option(fc.integer({ min: 1, max: 3 })),
  })
  const all = fc.sample(facts, 3000)
  const rows = await world.rows(
    `select drift_verdict((f->>'seen')::boolean, (f->>'tracked')::boolean, (f->>'pinned')::boolean, (f->>'evaluated')::boolean,
       (f->>'latestFailed')::boolean, (f->>'desiredKnown')::boolean, (f->>'onDesiredPath')::boolean, f->>'buildState',
       (f->>'desiredPosition')::bigint, (f->>'runningPosition')::bigint) as verdict
     from jsonb_array_elements($1) with ordinality as e(f, n) order by n`,
    [JSON.stringify(all)],
  )
  expect(rows.map((row) => row['verdict'])).toEqual(all.map((one) => verdictOf(one)))
})

test('the thresholds of health are the same in SQL', async () => {
  const now = new Date('2026-11-22T12:00:00Z')
  const ages = [0, 899, 900, 3599, 3600, 14_399, 14_400, 1_000_000, -30]
  const times = ages.map((seconds) => new Date(now.getTime() - seconds * 1000))
  const rows = await world.rows(
    'select system_health(t, $2) as health from unnest($1::timestamptz[]) with ordinality as u(t, n) order by n',
    [times, now],
  )
  expect(rows.map((row) => row['health'])).toEqual(times.map((time) => healthOf(time, now)))
  expect(healthOf(null, now)).toBe('never_seen')
})

test('commits that a force-push dropped are not counted as ones that a host is behind', async () => {
  const fleet = {
    flakes: [{ name: 'moved', repo_url: 'https://git.example.com/ops/moved', auto_poll: false }],
  }
  const systems = [
    { hostname: 'mover', environment: 'production', flake_name: 'moved', configuration: 'mover' },
  ]
  expect(await world.api('PUT', '/v1/fleet', { body: { ...fleet, systems } })).toMatchObject({ status: 200 })
  await world.commits('moved', [rev('4')])
  await world.evaluate(rev('4'), 'mover', { outPath: path('p', 'first') })
  await world.commits('moved', [rev('5'), rev('6'), rev('7')])
  await world.evaluate(rev('5'), 'mover', { outPath: path('q', 'dropped') })
  await world.commits('moved', [rev('8'), rev('9')], rev('4'))
  await world.evaluate(rev('9'), 'mover', { outPath: path('r', 'second') })
  await world.built(path('r', 'second'))
  const drift = async () => (await world.api('GET', '/v1/systems/mover/drift', { role: 'viewer' })).body

  await world.report('mover', { current: path('p', 'first') })
  expect(await drift()).toMatchObject({ verdict: 'behind', commits_behind: 2 })
  expect((await drift()).commits.map((commit: { rev: string }) => commit.rev)).toEqual([rev('9'), rev('8')])
  await world.report('mover', { current: path('q', 'dropped') })
  expect(await drift()).toMatchObject({ verdict: 'behind', commits_behind: 2 })
  await world.commits('moved', [rev('5')], rev('9'))
  await world.report('mover', { current: path('p', 'first') })
  // One that comes back is new at the end of the branch, and already evaluated.
  expect(await drift()).toMatchObject({ verdict: 'building', desired_rev: rev('5'), commits_behind: 3 })
})
