import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { call, createWorld, evaluatedOk, rev, type TestBuilder, type World } from './world.ts'

let world: World
let builder: TestBuilder

beforeAll(async () => {
  world = await createWorld()
  builder = await world.addBuilder('b1')
})
afterAll(() => world.close())

test('a push becomes commits, evaluations, one build for equal derivations, a scan, and an event for each', async () => {
  const flake = await world.addFlake('fleet')
  await world.addSystem('web-1', flake, 'web-1')
  const hook = await world.addHook(flake, 'github', 'a-secret-of-16-bytes')
  const body = Buffer.from(
    JSON.stringify({
      ref: 'refs/heads/main',
      after: rev('c2'),
      repository: { clone_url: 'https://git.example.com/acme/fleet.git' },
    }),
  )
  const delivered = await call(world.hooks, {
    route: 'POST /v1/hooks/{hook}',
    path: `/v1/hooks/${hook}`,
    body,
    parameters: { hook },
    headers: {
      'content-type': 'application/json',
      'x-github-event': 'push',
      'x-github-delivery': 'd-1',
      'x-hub-signature-256': `sha256=${createHmac('sha256', 'a-secret-of-16-bytes').update(body).digest('hex')}`,
    },
  })
  expect(delivered).toMatchObject({ status: 202, body: { accepted: true, flake: 'fleet' } })

  const resolve = await builder.claim(['resolve'])
  expect(resolve?.document.work).toMatchObject({ kind: 'resolve', branch: 'main', known: [], depth: 5 })
  if (resolve === null) return
  const resolved = await builder.result(resolve, {
    outcome: 'succeeded',
    succeeded: {
      kind: 'resolve',
      commits: [
        { rev: rev('c1'), committed_at: '2026-01-01T10:00:00Z', subject: 'first' },
        { rev: rev('c2'), committed_at: '2026-01-02T10:00:00Z', subject: 'second' },
      ],
      head: rev('c2'),
      continues: true,
    },
  })
  expect(resolved).toMatchObject({ status: 200, body: { recorded: true, next: 'done' } })
  expect(
    await world.rows('select rev, position, committed_at, state from commit order by position'),
  ).toMatchObject([
    { rev: rev('c1'), position: 1, committed_at: new Date('2026-01-01T10:00:00Z'), state: 'pending' },
    { rev: rev('c2'), position: 2, committed_at: new Date('2026-01-02T10:00:00Z'), state: 'pending' },
  ])

  for (const word of ['c2', 'c1']) {
    const evaluate = await builder.claim(['evaluate'])
    expect(evaluate?.document.work).toMatchObject({ kind: 'evaluate', rev: rev(word) })
    if (evaluate === null) return
    const failing = {
      state: 'error',
      configuration: 'broken',
      class: 'eval',
      message: 'error: no such option',
      duration_ms: 5,
    }
    expect(
      await builder.evaluations(evaluate, [evaluatedOk('web-1'), evaluatedOk('db-1'), failing]),
    ).toMatchObject({ status: 200, body: { recorded: 3 } })
    expect(
      await builder.result(evaluate, {
        outcome: 'succeeded',
        succeeded: { kind: 'evaluate', configurations: 3, failed: 1 },
      }),
    ).toMatchObject({ status: 200, body: { next: 'done' } })
  }
  expect(await world.rows('select state from commit')).toEqual([
    { state: 'evaluated' },
    { state: 'evaluated' },
  ])
  expect(
    await world.rows(
      `select g.name, g.latest_position, g.desired_position, p.first_position, p.last_position
       from configuration g left join configuration_path p on p.configuration_id = g.id order by g.name`,
    ),
  ).toEqual([
    { name: 'broken', latest_position: 2, desired_position: null, first_position: null, last_position: null },
    { name: 'db-1', latest_position: 2, desired_position: 2, first_position: 1, last_position: 2 },
    { name: 'web-1', latest_position: 2, desired_position: 2, first_position: 1, last_position: 2 },
  ])

  const build = await builder.claim(['build'])
  // web-1 is followed by a host, so it comes first although both belong to one commit.
  expect(build?.document.work).toMatchObject({
    kind: 'build',
    configuration: 'web-1',
    rev: rev('c2'),
    memory_factor: 1,
  })
  if (build === null) return
  expect(await builder.result(build, builder.built(build))).toMatchObject({
    status: 200,
    body: { next: 'done' },
  })
  expect(await world.rows(`select state from derivation where name like '%web-1'`)).toEqual([
    { state: 'built' },
  ])
  const other = await builder.claim(['build'])
  expect(other?.document.work).toMatchObject({ configuration: 'db-1' })
  expect(await builder.claim(['build'])).toBeNull()

  const scan = await builder.claim(['scan'])
  if (scan === null) throw new Error('no scan was queued')
  const found = {
    cve: 'CVE-2014-0160',
    package: 'openssl',
    version: '1.0.1',
    derivation: null,
    cvss3: 7.5,
    description: 'x',
    whitelisted: false,
  }
  expect(
    await builder.result(scan, {
      outcome: 'succeeded',
      succeeded: { kind: 'scan', outcome: 'scanned', scanner: 'vulnix 1.12.3', findings: [found] },
    }),
  ).toMatchObject({ status: 200 })
  expect(await world.rows('select cve_id, package from finding')).toEqual([
    { cve_id: 'CVE-2014-0160', package: 'openssl' },
  ])

  const events = await world.rows('select type, count(*) from audit_event group by type order by type')
  expect(events).toEqual([
    { type: 'build.attested', count: 1 },
    { type: 'commit.discovered', count: 2 },
    { type: 'evaluation.recorded', count: 6 },
    { type: 'hook.accepted', count: 1 },
    { type: 'scan.recorded', count: 1 },
  ])
})
