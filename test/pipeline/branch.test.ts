import { afterAll, beforeAll, expect, test } from 'vitest'
import { expire } from './seed.ts'
import { createWorld, evaluatedOk, rev, type TestBuilder, type World } from './world.ts'

let world: World
let builder: TestBuilder

beforeAll(async () => {
  world = await createWorld()
  builder = await world.addBuilder('b1')
})
afterAll(() => world.close())

type Walk = {
  readonly commits: string[]
  readonly head: string
  readonly continues?: boolean
  readonly base?: string
}

/** The branch as a builder finds it; commits are named by words, oldest first. */
async function resolve(flake: string, walk: Walk): Promise<{ known: string[]; status: number }> {
  const job = await world.queue('resolve', flake)
  const held = await builder.claim(['resolve'], { job })
  if (held?.document.work.kind !== 'resolve') throw new Error('no resolve job was given')
  const commits = walk.commits.map((word) => ({
    rev: rev(word),
    committed_at: '2026-02-01T10:00:00+02:00',
    subject: word,
  }))
  const { status } = await builder.result(held, {
    outcome: 'succeeded',
    succeeded: {
      kind: 'resolve',
      commits,
      head: rev(walk.head),
      continues: walk.continues ?? true,
      ...(walk.base === undefined ? {} : { base: rev(walk.base) }),
    },
  })
  return { known: held.document.work.known, status }
}

async function branchOf(flake: string): Promise<unknown[]> {
  return world.rows('select subject, position, on_branch from commit where flake_id = $1 order by position', [
    flake,
  ])
}

/** Evaluates the commit named by a word, wherever it stands in the queue. */
async function evaluate(
  flake: string,
  word: string,
  evaluations: object[],
  evaluator?: string,
): Promise<void> {
  const [row] = await world.rows(
    `select j.id from job j join commit c on c.id = j.subject where c.flake_id = $1 and c.rev = $2 and j.state = 'queued'`,
    [flake, rev(word)],
  )
  const held = await builder.claim(['evaluate'], { job: String(row?.['id']) })
  if (held === null) throw new Error(`${word} has no job`)
  const sent = await builder.evaluations(held, evaluations, evaluator)
  expect(sent.status).toBe(200)
  const done = { kind: 'evaluate', configurations: evaluations.length, failed: 0 }
  expect((await builder.result(held, { outcome: 'succeeded', succeeded: done })).status).toBe(200)
}

async function configurationOf(flake: string): Promise<unknown> {
  const [row] = await world.rows(
    'select latest_position as latest, desired_position as desired from configuration where flake_id = $1',
    [flake],
  )
  return row
}

test('commits keep their own time, and a head that is known adds nothing', async () => {
  const flake = await world.addFlake('times')
  await resolve(flake, { commits: ['t1', 't2'], head: 't2' })
  const { known } = await resolve(flake, { commits: [], head: 't2' })
  expect(known).toEqual([rev('t2'), rev('t1')])
  expect(await world.rows('select distinct committed_at from commit where flake_id = $1', [flake])).toEqual([
    { committed_at: new Date('2026-02-01T08:00:00Z') },
  ])
  const jobs = `select count(*) from job j join commit c on c.id = j.subject where c.flake_id = $1 and j.kind = 'evaluate'`
  expect(await world.rows(jobs, [flake])).toEqual([{ count: 2 }])
})

test('a force-push takes what it dropped off the branch, and goes on', async () => {
  const flake = await world.addFlake('forced')
  await resolve(flake, { commits: ['f1', 'f2'], head: 'f2' })
  await evaluate(flake, 'f2', [evaluatedOk('host', 'f2')])
  expect(await configurationOf(flake)).toEqual({ latest: 2, desired: 2 })

  await resolve(flake, { commits: ['f3'], head: 'f3', base: 'f1' })
  expect(await branchOf(flake)).toEqual([
    { subject: 'f1', position: 1, on_branch: true },
    { subject: 'f2', position: 2, on_branch: false },
    { subject: 'f3', position: 3, on_branch: true },
  ])
  expect(await configurationOf(flake)).toEqual({ latest: null, desired: null })

  // The branch is put back to f2, which was evaluated before: it is the newest again.
  await resolve(flake, { commits: ['f2'], head: 'f2', base: 'f1' })
  expect(await configurationOf(flake)).toEqual({ latest: 4, desired: 4 })
  const { known } = await resolve(flake, { commits: ['n1', 'n2'], head: 'n2', continues: false })
  expect(known).toEqual([rev('f2'), rev('f1')])
  expect(await branchOf(flake)).toMatchObject([
    { subject: 'f1', on_branch: false },
    { subject: 'f3', on_branch: false },
    { subject: 'f2', on_branch: false },
    { subject: 'n1', position: 5, on_branch: true },
    { subject: 'n2', position: 6, on_branch: true },
  ])
})

test('a branch that was put back to a known commit ends there', async () => {
  const flake = await world.addFlake('back')
  await resolve(flake, { commits: ['k1', 'k2', 'k3'], head: 'k3' })
  await resolve(flake, { commits: [], head: 'k1' })
  expect(await branchOf(flake)).toMatchObject([
    { on_branch: true },
    { on_branch: false },
    { on_branch: false },
  ])
})

test('of a push of 60 commits the newest 50 are evaluated and the others are skipped', async () => {
  const flake = await world.addFlake('many')
  const words = Array.from({ length: 60 }, (_, n) => `many-${n}`)
  await resolve(flake, { commits: words, head: 'many-59' })
  expect(
    await world.rows(
      'select state, count(*), min(position) from commit where flake_id = $1 group by state order by state',
      [flake],
    ),
  ).toEqual([
    { state: 'pending', count: 50, min: 11 },
    { state: 'skipped', count: 10, min: 1 },
  ])
})

test('a push that comes while the branch is being read is not lost', async () => {
  const flake = await world.addFlake('busy')
  const job = await world.queue('resolve', flake)
  const held = await builder.claim(['resolve'], { job })
  if (held === null) throw new Error('no resolve job was given')
  expect(await world.queue('resolve', flake)).toBe(job)
  const done = { kind: 'resolve', commits: [], head: rev('x'), continues: true }
  await builder.result(held, { outcome: 'succeeded', succeeded: done })
  const open = `select count(*) from job where subject = $1 and state = 'queued' and not payload ? 'again'`
  expect(await world.rows(open, [flake])).toEqual([{ count: 1 }])
})

test('a branch that could not be read says why, is tried again, and the reason goes when it could', async () => {
  const flake = await world.addFlake('down')
  const job = await world.queue('resolve', flake)
  const held = await builder.claim(['resolve'], { job })
  if (held === null) throw new Error('no resolve job was given')
  const failed = { outcome: 'failed', class: 'infra', message: 'fatal: could not resolve host' }
  expect(await builder.result(held, failed)).toMatchObject({ body: { next: 'retry', retry_in_s: 5 } })
  const error = 'select last_error from flake where id = $1'
  expect(await world.rows(error, [flake])).toEqual([{ last_error: 'fatal: could not resolve host' }])
  // A push does not wait for the end of the pause.
  await resolve(flake, { commits: ['d1'], head: 'd1' })
  expect(await world.rows(error, [flake])).toEqual([{ last_error: null }])
})

test('a commit that leaves the derivation unchanged completes, and the build is shared', async () => {
  const flake = await world.addFlake('unchanged')
  await resolve(flake, { commits: ['u1', 'u2'], head: 'u2' })
  await evaluate(flake, 'u1', [evaluatedOk('host', 'u')])
  await evaluate(flake, 'u2', [evaluatedOk('host', 'u')])
  expect(await world.rows('select state from commit where flake_id = $1', [flake])).toEqual([
    { state: 'evaluated' },
    { state: 'evaluated' },
  ])
  const paths = `select first_position, last_position from configuration_path p
    join configuration g on g.id = p.configuration_id where g.flake_id = $1`
  expect(await world.rows(paths, [flake])).toEqual([{ first_position: 1, last_position: 2 }])
  const builds = `select count(*) from job j join evaluation e on e.derivation_id = j.subject
    join commit c on c.id = e.commit_id where c.flake_id = $1 and c.rev = $2`
  expect(await world.rows(builds, [flake, rev('u2')])).toEqual([{ count: 1 }])
})

test('an older commit that is evaluated later moves nothing back', async () => {
  const flake = await world.addFlake('order')
  await resolve(flake, { commits: ['o1', 'o2'], head: 'o2' })
  await evaluate(flake, 'o2', [evaluatedOk('host', 'o2')])
  await evaluate(flake, 'o1', [evaluatedOk('host', 'o1')])
  expect(await configurationOf(flake)).toEqual({ latest: 2, desired: 2 })
})

test('a newest commit that fails to evaluate is the latest and not the desired one', async () => {
  const flake = await world.addFlake('half')
  await resolve(flake, { commits: ['h1', 'h2'], head: 'h2' })
  await evaluate(flake, 'h1', [evaluatedOk('host', 'h1')])
  const error = {
    state: 'error',
    configuration: 'host',
    class: 'eval',
    message: 'error: infinite recursion',
    duration_ms: 1,
  }
  await evaluate(flake, 'h2', [error])
  expect(await configurationOf(flake)).toEqual({ latest: 2, desired: 1 })
})

test('another path by another version of Nix is noted and replaces nothing', async () => {
  const flake = await world.addFlake('versions')
  await resolve(flake, { commits: ['v1'], head: 'v1' })
  const job = String(
    (
      await world.rows(
        `select id from job where kind = 'evaluate' and state = 'queued' order by id desc limit 1`,
      )
    )[0]?.['id'],
  )
  const held = await builder.claim(['evaluate'], { job })
  if (held === null) throw new Error('no evaluate job was given')
  const first = evaluatedOk('host', 'by-2.34')
  await builder.evaluations(held, [first], '2.34.8')
  expect(await builder.evaluations(held, [first], '2.34.8')).toMatchObject({ body: { same: 1 } })
  expect(await builder.evaluations(held, [evaluatedOk('host', 'by-2.8')], '2.8.0')).toMatchObject({
    status: 200,
    body: { recorded: 0, evaluator_version: 1 },
  })
  const stands = `select d.out_path, e.evaluator from evaluation e join derivation d on d.id = e.derivation_id
    join commit c on c.id = e.commit_id where c.flake_id = $1`
  expect(await world.rows(stands, [flake])).toEqual([{ out_path: first['out_path'], evaluator: '2.34.8' }])
  const noted = `select count(*) from audit_event where type = 'evaluation.recorded'
    and convert_from(body, 'UTF8')::jsonb ->> 'refused' = 'evaluator_version'`
  expect(await world.rows(noted)).toEqual([{ count: 1 }])
})

test('an evaluation that fails as a whole is retried for the machine, and else is the verdict of the commit', async () => {
  const flake = await world.addFlake('whole')
  await resolve(flake, { commits: ['w1'], head: 'w1' })
  const job = String(
    (
      await world.rows(`select j.id from job j join commit c on c.id = j.subject where c.flake_id = $1`, [
        flake,
      ])
    )[0]?.['id'],
  )
  const first = await builder.claim(['evaluate'], { job })
  if (first === null) throw new Error('no evaluate job was given')
  await builder.evaluations(first, [evaluatedOk('a', 'w')])
  await expire(world, job)
  expect(await world.rows('select state from commit where flake_id = $1', [flake])).toEqual([
    { state: 'pending' },
  ])
  await world.rows('update job set not_before = now() where id = $1', [job])
  const second = await builder.claim(['evaluate'], { job })
  if (second === null) throw new Error('the job was lost')
  const failed = { outcome: 'failed', class: 'eval', message: 'error: flake.nix does not parse' }
  expect(await builder.result(second, failed)).toMatchObject({ body: { next: 'verdict' } })
  expect(await world.rows('select state, error from commit where flake_id = $1', [flake])).toEqual([
    { state: 'failed', error: 'error: flake.nix does not parse' },
  ])
})

test('configurations that failed because of the machine are evaluated again, those with a verdict are not touched', async () => {
  const flake = await world.addFlake('transient')
  await resolve(flake, { commits: ['tr1'], head: 'tr1' })
  const job = String(
    (
      await world.rows(`select j.id from job j join commit c on c.id = j.subject where c.flake_id = $1`, [
        flake,
      ])
    )[0]?.['id'],
  )
  const first = await builder.claim(['evaluate'], { job })
  if (first === null) throw new Error('no evaluate job was given')
  const slow = {
    state: 'error',
    configuration: 'b',
    class: 'timeout',
    message: 'took too long',
    duration_ms: 1,
  }
  await builder.evaluations(first, [evaluatedOk('a', 'tr'), slow])
  const done = { outcome: 'succeeded', succeeded: { kind: 'evaluate', configurations: 2, failed: 1 } }
  expect(await builder.result(first, done)).toMatchObject({ status: 200, body: { next: 'retry' } })
  await world.rows('update job set not_before = now() where id = $1', [job])
  const second = await builder.claim(['evaluate'], { job })
  if (second === null) throw new Error('the job was lost')
  expect(await builder.evaluations(second, [evaluatedOk('a', 'tr'), evaluatedOk('b', 'tr')])).toMatchObject({
    body: { recorded: 1, same: 1 },
  })
  expect(await builder.result(second, done)).toMatchObject({ body: { next: 'done' } })
})

test('facts with NUL are refused before they reach the database', async () => {
  const flake = await world.addFlake('nul')
  await resolve(flake, { commits: ['nul1'], head: 'nul1' })
  const job = String(
    (
      await world.rows(`select j.id from job j join commit c on c.id = j.subject where c.flake_id = $1`, [
        flake,
      ])
    )[0]?.['id'],
  )
  const held = await builder.claim(['evaluate'], { job })
  if (held === null) throw new Error('no evaluate job was given')
  const answer = await builder.evaluations(held, [{ ...evaluatedOk('a', 'nul'), facts: { name: 'a\0b' } }])
  expect(answer).toMatchObject({ status: 422, body: { code: 'bad_text' } })
})

test('two builders that evaluate two commits at once with shared derivations both succeed', async () => {
  const flake = await world.addFlake('twins')
  const other = await world.addBuilder('b2')
  await resolve(flake, { commits: ['tw1', 'tw2'], head: 'tw2' })
  const jobs = await world.rows(
    `select j.id from job j join commit c on c.id = j.subject where c.flake_id = $1 order by c.position`,
    [flake],
  )
  const names = Array.from({ length: 20 }, (_, n) => `host-${n}`)
  const both = await Promise.all(
    [builder, other].map(async (by, n) => {
      const held = await by.claim(['evaluate'], { job: String(jobs[n]?.['id']) })
      if (held === null) throw new Error('no evaluate job was given')
      const order = n === 0 ? names : names.toReversed()
      const batches = [order.slice(0, 10), order.slice(10)]
      const answers = []
      for (const batch of batches) {
        const evaluations = batch.map((name) => evaluatedOk(name, `shared-${Number(name.slice(5)) % 7}`))
        answers.push(await by.evaluations(held, evaluations))
      }
      return answers
    }),
  )
  expect(both.flat().map(({ status, body }) => ({ status, recorded: body['recorded'] }))).toEqual(
    Array.from({ length: 4 }, () => ({ status: 200, recorded: 10 })),
  )
  const builds = `select count(*), count(distinct subject) as subjects from job where kind = 'build'
    and subject in (select e.derivation_id from evaluation e join commit c on c.id = e.commit_id where c.flake_id = $1)`
  expect(await world.rows(builds, [flake])).toEqual([{ count: 20, subjects: 20 }])
})
