import { createHmac, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, call, createWorld, rev, SOURCE, type World } from './world.ts'

let world: World

beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

const SECRET = 'a-secret-of-16-bytes'

function push(changes: object = {}): object {
  return {
    ref: 'refs/heads/main',
    after: rev(randomUUID()),
    repository: { clone_url: 'https://git.example.com/acme/fleet.git' },
    ...changes,
  }
}

/** Delivers as GitHub does. */
async function deliver(
  hook: string,
  body: object | Buffer,
  changes: {
    readonly secret?: string
    readonly id?: string
    readonly event?: string
    readonly headers?: object
  } = {},
): Promise<Answer> {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  const mac = createHmac('sha256', changes.secret ?? SECRET)
    .update(bytes)
    .digest('hex')
  return call(world.hooks, {
    route: 'POST /v1/hooks/{hook}',
    path: `/v1/hooks/${hook}`,
    body: bytes,
    parameters: { hook },
    headers: {
      'content-type': 'application/json',
      'x-github-event': changes.event ?? 'push',
      'x-github-delivery': changes.id ?? randomUUID(),
      'x-hub-signature-256': `sha256=${mac}`,
      ...changes.headers,
    },
  })
}

async function resolveJobs(flake: string): Promise<unknown> {
  const [row] = await world.rows(`select count(*) from job where subject = $1 and kind = 'resolve'`, [flake])
  return row?.['count']
}

async function hooked(name: string, branch = 'main'): Promise<{ flake: string; hook: string }> {
  const flake = await world.addFlake(name, { branch })
  return { flake, hook: await world.addHook(flake, 'github', SECRET) }
}

test('a push makes one job with its hint, and later pushes join it while it is open', async () => {
  const { flake, hook } = await hooked('fleet')
  const first = await deliver(hook, push())
  expect(first).toMatchObject({ status: 202, body: { accepted: true, flake: 'fleet' } })
  const second = await deliver(hook, push())
  expect(second.body['job']).toBe(first.body['job'])
  expect(await resolveJobs(flake)).toBe(1)
  const hints = `select count(*) from outbox where queue = 'resolve' and body ->> 'job' = $1`
  expect((await world.rows(hints, [first.body['job']]))[0]?.['count']).toBeGreaterThan(0)
  expect(await world.rows(`select count(*) from audit_event where type = 'hook.accepted'`)).toEqual([
    { count: 2 },
  ])
})

test('a replayed delivery is acknowledged and changes nothing', async () => {
  const { flake, hook } = await hooked('replays')
  const body = push()
  expect((await deliver(hook, body, { id: 'same' })).status).toBe(202)
  await world.rows(`update job set state = 'succeeded' where subject = $1`, [flake])
  const again = await deliver(hook, body, { id: 'same' })
  expect(again).toEqual({ status: 200, body: { accepted: false, because: 'delivery already seen' } })
  const otherId = await deliver(hook, body, { id: 'other' })
  expect(otherId).toMatchObject({
    status: 200,
    body: { accepted: false, because: expect.stringContaining('10 minutes') },
  })
  expect(await resolveJobs(flake)).toBe(1)
  // After ten minutes equal bytes are a push again.
  await world.rows(
    `update hook_delivery set received_at = now() - interval '11 minutes' where hook_id = $1`,
    [hook],
  )
  expect((await deliver(hook, body, { id: 'third' })).status).toBe(202)
})

test('of equal deliveries at the same time one is accepted', async () => {
  const { flake, hook } = await hooked('together')
  const body = push()
  const answers = await Promise.all(
    Array.from({ length: 6 }, (_, n) => deliver(hook, body, { id: `d${n % 3}` })),
  )
  expect(answers.filter(({ body }) => body['accepted'] === true)).toHaveLength(1)
  expect(await resolveJobs(flake)).toBe(1)
})

describe('acknowledged with a reason, and ignored', () => {
  const cases: [string, object, string, RegExp][] = [
    ['a push to another branch', push({ ref: 'refs/heads/dev' }), 'push', /"dev"; "main" is watched/],
    [
      'a branch whose name ends like the watched one',
      push({ ref: 'refs/heads/x/main' }),
      'push',
      /is watched/,
    ],
    ['a tag', push({ ref: 'refs/tags/main' }), 'push', /tag/],
    ['the deletion of the branch', push({ after: '0'.repeat(40), deleted: true }), 'push', /deleted/],
    ['a ping', { zen: 'Design for failure.' }, 'ping', /not a push/],
  ]
  test.each(cases)('%s', async (name, body, event, because) => {
    const { flake, hook } = await hooked(`ignored-${name.replaceAll(' ', '-')}`)
    const answer = await deliver(hook, body, { event })
    expect(answer).toMatchObject({
      status: 202,
      body: { accepted: false, because: expect.stringMatching(because) },
    })
    expect(await resolveJobs(flake)).toBe(0)
  })
})

describe('refused with the one answer', () => {
  test('unknown hook, wrong secret, no signature, a hook that was switched off', async () => {
    const { flake, hook } = await hooked('refused')
    const off = await hooked('off')
    await world.rows('update hook set active = false where id = $1', [off.hook])
    const answers = [
      await deliver('hook_that_does_not_exist_at_all', push()),
      await deliver(hook, push(), { secret: 'another-secret-16-b' }),
      await deliver(hook, push(), { headers: { 'x-hub-signature-256': '' } }),
      await deliver(hook, push(), { headers: { 'x-hub-signature-256': 'sha1=0000' } }),
      await deliver(off.hook, push()),
    ]
    for (const answer of answers) expect(answer).toEqual(answers[0])
    expect(answers[0]).toMatchObject({ status: 401, body: { code: 'hook_signature' } })
    expect((await deliver("x' or '1'='1", push())).status).toBe(400)
    expect(await resolveJobs(flake)).toBe(0)
    expect(world.logged.some(({ message }) => message === 'delivery refused')).toBe(true)
  })

  test('a signed body that is not JSON is the sender’s fault and says what to change', async () => {
    const { hook } = await hooked('form')
    const answer = await deliver(hook, Buffer.from('payload=%7B%7D'))
    expect(answer).toMatchObject({ status: 400, body: { code: 'hook_body' } })
    expect(answer.body['detail']).toContain('application/json')
  })
})

test('the previous secret is good until it is taken away', async () => {
  const flake = await world.addFlake('rotated')
  const hook = await world.addHook(flake, 'github', 'the-new-secret-16-b', SECRET)
  expect((await deliver(hook, push())).status).toBe(202)
  expect((await deliver(hook, push(), { secret: 'the-new-secret-16-b' })).status).toBe(202)
})

test('a secret that was copied to another hook does not open there', async () => {
  const { hook } = await hooked('copied-from')
  const { hook: target, flake } = await hooked('copied-to')
  await world.rows(
    'update hook set secret_sealed = (select secret_sealed from hook where id = $1) where id = $2',
    [hook, target],
  )
  expect((await deliver(target, push())).status).toBe(401)
  expect(await resolveJobs(flake)).toBe(0)
})

test('a local flake is pushed to like any other, and the body does not choose the repository', async () => {
  const flake = await world.addFlake('local', { source: { kind: 'local', path: '/srv/fleet' } })
  const hook = await world.addHook(flake, 'github', SECRET)
  const answer = await deliver(hook, push({ repository: { clone_url: 'https://evil.example/x.git' } }))
  expect(answer).toMatchObject({ status: 202, body: { accepted: true } })
  const builder = await world.addBuilder('b1')
  const claimed = await builder.claim(['resolve'], { job: String(answer.body['job']) })
  expect(claimed?.document.work).toMatchObject({ source: { kind: 'local', path: '/srv/fleet' } })
  expect(SOURCE.host).toBe('git.example.com')
})

test('GitLab deliveries are verified by their own scheme', async () => {
  const flake = await world.addFlake('lab')
  const hook = await world.addHook(flake, 'gitlab', SECRET)
  const body = Buffer.from(
    JSON.stringify({
      ref: 'refs/heads/main',
      checkout_sha: rev('lab'),
      project: { web_url: 'https://lab.example.com/acme/fleet' },
    }),
  )
  const send = (token: string): Promise<Answer> =>
    call(world.hooks, {
      route: 'POST /v1/hooks/{hook}',
      path: `/v1/hooks/${hook}`,
      body,
      parameters: { hook },
      headers: {
        'x-gitlab-event': 'Push Hook',
        'x-gitlab-event-uuid': randomUUID(),
        'x-gitlab-token': token,
      },
    })
  expect((await send('wrong')).status).toBe(401)
  expect((await send(SECRET)).status).toBe(202)
  const assurance = `select convert_from(body, 'UTF8')::jsonb ->> 'assurance' as assurance from audit_event
    where type = 'hook.accepted' order by id desc limit 1`
  expect(await world.rows(assurance)).toEqual([{ assurance: 'bearer' }])
})

test('the original’s address says where deliveries go now', async () => {
  const answer = await call(world.hooks, {
    route: 'POST /webhook',
    path: '/webhook',
    body: Buffer.from('{}'),
    parameters: {},
    headers: {},
  })
  expect(answer).toMatchObject({ status: 410, body: { code: 'hook_moved' } })
  expect(answer.body['detail']).toContain('/v1/hooks/')
})
