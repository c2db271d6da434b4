import { afterAll, beforeAll, expect, test } from 'vitest'
import { waitFor } from '../demo/wait-for.ts'
import { evaluatedOk, fakePath, rev } from '../pipeline/world.ts'
import { type BuilderCalls, builderOf, type Held, must, resolved } from './builder-calls.ts'
import { deliveryOf, push } from './deliveries.ts'
import type { Answer, RawRequest } from './raw-http.ts'
import { type RunningServer, runServer } from './running-server.ts'
import { ask, bytesOf, makeIdentity } from './signed-call.ts'

/** What the original got wrong and a running control plane can show; numbered as in the list of its known defects. */

let server: RunningServer
let authority: string
let builder: BuilderCalls
let other: BuilderCalls
const hookPaths = new Map<string, string>()
const HOOK_SECRET = 'a secret of these tests'

beforeAll(async () => {
  server = await runServer({ leaseS: 5, sweepEveryS: 1 })
  authority = new URL(server.facts.url).host
  const identities = [makeIdentity('builder-1'), makeIdentity('builder-2')]
  const builders = identities.map(({ name, publicKey }) => ({ name, public_key: publicKey }))
  await must(200, operator('PUT', '/v1/fleet', { builders }))
  const [one, two] = identities.map((identity) => builderOf({ authority, send }, identity))
  if (one === undefined || two === undefined) throw new Error('there are two builders')
  ;[builder, other] = [one, two]
  for (const each of [builder, other]) await each.hello()
}, 120_000)
afterAll(() => server?.stop())

const send = (request: RawRequest): Promise<Answer> => ask(server.facts.url, request)

function operator(method: string, target: string, body?: unknown): Promise<Answer> {
  const headers: [string, string][] = [
    ['host', authority],
    ['authorization', `Bearer ${server.adminToken}`],
  ]
  return send({ method, target, headers, ...(body === undefined ? {} : { body: bytesOf(body) }) })
}

async function items(target: string): Promise<Record<string, unknown>[]> {
  const { text } = await must(200, operator('GET', target))
  return JSON.parse(text).items
}

/** A flake with one host of the same name, whose branch has been read once. */
async function flakeWithHost(name: string): Promise<void> {
  const { body } = await must(
    200,
    operator('PUT', '/v1/fleet', {
      flakes: [{ name, repo_url: `https://git.example.com/acme/${name}`, auto_poll: false }],
      hooks: [{ flake: name, provider: 'github', secret: HOOK_SECRET }],
      systems: [{ hostname: name, flake_name: name }],
    }),
  )
  const changes = body['changes'] as { kind: string; path?: string }[]
  hookPaths.set(name, changes.find(({ kind }) => kind === 'hook')?.path ?? '')
  await builder.result(await builder.claim('resolve'), resolved(`${name} 1`))
}

async function deliver(flake: string, changes: object): Promise<Answer> {
  const hookPath = hookPaths.get(flake) ?? ''
  return must(202, send(deliveryOf({ authority, hookPath, hookSecret: HOOK_SECRET }, push(changes))))
}

/** The next commit evaluates to one system. */
async function evaluate(flake: string, salt = ''): Promise<void> {
  const held = await builder.claim('evaluate')
  const evaluations = [evaluatedOk(flake, salt)]
  await must(200, builder.onJob(held, 'evaluations', { evaluator: '2.34.8', evaluations }))
  await builder.result(held, { kind: 'evaluate', configurations: 1, failed: 0 })
}

const failure = (name: string): object => ({
  result: { outcome: 'failed', class: name, message: `${name} happened` },
})
const jobOf = async ({ job }: Held): Promise<Record<string, unknown>> =>
  (await must(200, operator('GET', `/v1/jobs/${job}`))).body

test('defect 22: a commit that leaves the derivation unchanged completes, and its host is not behind', async () => {
  await flakeWithHost('unchanged')
  await evaluate('unchanged')
  await deliver('unchanged', { after: rev('unchanged 2') })
  await builder.result(await builder.claim('resolve'), resolved('unchanged 2', 'unchanged 1'))
  await evaluate('unchanged')
  const commits = await items('/v1/commits?flake=unchanged')
  expect(commits.map(({ rev: one, state }) => [one, state])).toEqual([
    [rev('unchanged 2'), 'evaluated'],
    [rev('unchanged 1'), 'evaluated'],
  ])
  const { body: drift } = await operator('GET', '/v1/systems/unchanged/drift')
  expect(drift).toMatchObject({
    desired_rev: rev('unchanged 2'),
    desired_path: fakePath('nixos-system-unchanged', 'out'),
    head_state: 'evaluated',
  })
  const builds = (await items('/v1/jobs?kind=build')).filter(
    ({ about }) => about === 'nixos-system-unchanged',
  )
  expect(builds).toHaveLength(1)
  await must(200, operator('POST', `/v1/jobs/${builds[0]?.['id']}/cancel`, {}))
})

test('defects 1, 3 and 27: a push is a hint; what the branch holds and when it was committed says the forge', async () => {
  await flakeWithHost('hinted')
  await evaluate('hinted')
  await must(404, operator('GET', `/v1/commits/${rev('not on the branch')}`))
  await deliver('hinted', {
    after: rev('not on the branch'),
    head_commit: { id: rev('not on the branch'), timestamp: '2030-01-01T00:00:00Z' },
  })
  expect(await items(`/v1/commits?rev=${rev('not on the branch')}`)).toEqual([])
  const commits = [
    { rev: rev('hinted 2'), committed_at: '2026-11-22T09:00:00+02:00', subject: 'rebased' },
    { rev: rev('hinted 3'), committed_at: '2026-11-21T00:00:00Z', subject: 'with an older clock' },
  ]
  const walked = { kind: 'resolve', commits, head: rev('hinted 3'), continues: true, base: rev('hinted 1') }
  await builder.result(await builder.claim('resolve'), walked)
  const listed = await items('/v1/commits?flake=hinted')
  expect(listed.map(({ rev: one, committed_at: at }) => [one, at])).toEqual([
    [rev('hinted 3'), '2026-11-21T00:00:00.000Z'],
    [rev('hinted 2'), '2026-11-22T07:00:00.000Z'],
    [rev('hinted 1'), '2026-11-22T19:00:00.000Z'],
  ])
  // The newest is the head of the branch, whatever the clocks of its authors said.
  expect((await operator('GET', '/v1/systems/hinted/drift')).body['head_rev']).toBe(rev('hinted 3'))
  await cancelAll()
})

test('defect 56: the lease of a crashed builder expires by itself, and its late result is refused', async () => {
  await flakeWithHost('crashed')
  await evaluate('crashed')
  const lost = await builder.claim('build')
  await waitFor('the end of the lease', async () =>
    (await jobOf(lost))['state'] === 'queued' ? true : undefined,
  )
  await server.database.admin.query('update job set not_before = now() where id = $1', [lost.job])
  const taken = await other.claim('build')
  expect(taken.job).toBe(lost.job)
  const late = await builder.onJob(lost, 'result', failure('build'))
  expect(late).toMatchObject({ status: 409, body: { code: 'stale_fence' } })
  expect(await jobOf(taken)).toMatchObject({ state: 'leased', builder: 'builder-2' })
  expect(await other.onJob(taken, 'result', failure('build'))).toMatchObject({ body: { next: 'verdict' } })
}, 120_000)

test('defects 32, 33 and 34: what a restart finds stays as it is; a failed build is tried again by rule', async () => {
  await flakeWithHost('restarted')
  await evaluate('restarted')
  const target = fakePath('nixos-system-by-hand')
  await must(200, operator('PATCH', '/v1/systems/restarted', { desired_target: target }))
  const first = await builder.claim('build')
  expect((await builder.onJob(first, 'result', failure('infra'))).body).toMatchObject({ next: 'retry' })
  await server.crash()
  expect(await jobOf(first)).toMatchObject({ state: 'queued', attempt: 2 })
  await server.database.admin.query('update job set not_before = now() where id = $1', [first.job])
  const second = await builder.claim('build')
  expect((await builder.onJob(second, 'result', failure('build'))).body).toMatchObject({ next: 'verdict' })
  const before = await items('/v1/jobs')
  await server.crash()
  expect(await items('/v1/jobs')).toEqual(before)
  expect(await jobOf(first)).toMatchObject({ state: 'failed', attempt: 2, failure_message: 'build happened' })
  expect((await operator('GET', '/v1/systems/restarted')).body).toMatchObject({ desired_target: target })
}, 120_000)

test('defect 26: a configuration that does not evaluate keeps its error, and the others go on', async () => {
  await flakeWithHost('partly')
  await must(200, operator('PUT', '/v1/fleet', { systems: [{ hostname: 'broken', flake_name: 'partly' }] }))
  const held = await builder.claim('evaluate')
  const message = "error: attribute 'ngnix' missing"
  const broken = { state: 'error', configuration: 'broken', class: 'eval', message, duration_ms: 1 }
  const evaluations = [evaluatedOk('partly'), broken]
  await must(200, builder.onJob(held, 'evaluations', { evaluator: '2.34.8', evaluations }))
  await builder.result(held, { kind: 'evaluate', configurations: 2, failed: 1 })
  expect((await operator('GET', '/v1/systems/broken/drift')).body).toMatchObject({
    evaluation_error: message,
  })
  expect((await operator('GET', '/v1/systems/partly/drift')).body).toMatchObject({
    evaluation_error: null,
    desired_rev: rev('partly 1'),
  })
  await cancelAll()
})

test('defect 46: a host follows a configuration of another name, and what no host follows comes last', async () => {
  await flakeWithHost('named')
  await must(
    200,
    operator('PUT', '/v1/fleet', {
      systems: [{ hostname: 'rack-7-node-3', flake_name: 'named', configuration: 'worker' }],
    }),
  )
  const held = await builder.claim('evaluate')
  const evaluations = [evaluatedOk('nobodys'), evaluatedOk('worker')]
  await must(200, builder.onJob(held, 'evaluations', { evaluator: '2.34.8', evaluations }))
  await builder.result(held, { kind: 'evaluate', configurations: 2, failed: 0 })
  expect((await operator('GET', '/v1/systems/rack-7-node-3/drift')).body).toMatchObject({
    configuration: 'worker',
    desired_path: fakePath('nixos-system-worker', 'out'),
  })
  const builds = await items('/v1/jobs?kind=build&open=true')
  const priorityOf = (about: string): unknown => builds.find((job) => job['about'] === about)?.['priority']
  expect(priorityOf('nixos-system-worker')).toBeGreaterThan(Number(priorityOf('nixos-system-nobodys') ?? -1))
  await cancelAll()
})

test('defect 32: a flake that no host follows is tracked; an environment that nobody declared is made, says so, and stops nothing', async () => {
  const flakes = [
    { name: 'unfollowed', repo_url: 'https://git.example.com/acme/unfollowed', auto_poll: false },
  ]
  await must(200, operator('PUT', '/v1/fleet', { flakes }))
  await builder.result(await builder.claim('resolve'), resolved('unfollowed 1'))
  await evaluate('unfollowed')
  expect(await items('/v1/commits?flake=unfollowed')).toMatchObject([{ state: 'evaluated' }])
  const systems = [{ hostname: 'undeclared', flake_name: 'unfollowed', environment: 'lab' }]
  const { body } = await must(200, operator('PUT', '/v1/fleet', { systems }))
  expect(body['changes']).toContainEqual(
    expect.objectContaining({
      kind: 'environment',
      name: 'lab',
      action: 'create',
      note: expect.stringContaining('not declared'),
    }),
  )
  await server.crash()
  expect(await items('/v1/systems?environment=lab')).toMatchObject([{ hostname: 'undeclared' }])
  expect(await items('/v1/flakes?active=true')).toEqual(
    expect.arrayContaining([expect.objectContaining({ name: 'unfollowed' })]),
  )
  await cancelAll()
})

/** The next test begins with an empty queue. */
async function cancelAll(): Promise<void> {
  for (const { id } of await items('/v1/jobs?state=queued'))
    await must(200, operator('POST', `/v1/jobs/${id}/cancel`, {}))
}
