import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StigReport } from '@crystal-forge/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'
import { reportOf, TOPLEVEL, theCatalogue } from '../controls/demo-host.ts'
import { hostHistory } from './host-history.ts'
import { type OperatorWorld, operatorWorld, rev } from './world.ts'

const catalogue = theCatalogue()
let world: OperatorWorld
let directory: string
const { runs, evaluated, showed } = hostHistory(() => world, catalogue)

const HOUR = 3_600_000
/** A whole hour some time ago, so that steps of the clock are what the tests say. */
const now = new Date(Math.floor(Date.now() / HOUR) * HOUR)
const ago = (hours: number): Date => new Date(now.getTime() - hours * HOUR)
const lost = (): Pick<StigReport['rules'][string], 'state' | 'actual'> => ({
  state: 'inactive',
  actual: [{ value: 'yes', verdict: 'false' }],
})

beforeAll(async () => {
  world = await operatorWorld()
  directory = await mkdtemp(join(tmpdir(), 'cf-scores-'))
  const systems = ['web-1', 'web-2'].map((hostname) => ({
    hostname,
    environment: 'production',
    flake_name: 'fleet',
    configuration: 'web-1',
  }))
  const flakes = [{ name: 'fleet', repo_url: 'https://git.example.com/ops/fleet', auto_poll: false }]
  expect(await world.api('PUT', '/v1/fleet', { body: { flakes, systems } })).toMatchObject({ status: 200 })
  await world.rows(`update system set created_at = now() - interval '400 days' where hostname = 'web-1'`)
  await world.rows(`update system set created_at = $1 where hostname = 'web-2'`, [ago(60)])
  await world.commits('fleet', ['1', '2', '3'].map(rev))
  // Evaluated, then shown by the host for two days, then drifted, then silent.
  await runs('web-1', TOPLEVEL, ago(200))
  await evaluated(reportOf(catalogue), ago(199))
  await showed('web-1', ago(190))
  await showed('web-1', ago(145), (fact) =>
    fact.collector === 'sysctl' ? { ...fact, value: { 'net.ipv4.tcp_syncookies': '0' } } : fact,
  )
})
afterAll(async () => {
  await world.stop()
  await rm(directory, { recursive: true })
})

async function cf(argv: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const out: string[] = []
  const err: string[] = []
  const console: Console = {
    env: { CF_SERVER: world.url, CF_TOKEN: world.tokens.viewer },
    home: directory,
    hostname: 'here',
    now: () => now,
    fetch,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    sleep: async () => {},
    ask: async () => null,
  }
  return { code: await run(argv, console), out: out.join('\n'), err: err.join('\n') }
}

type Point = {
  at: string
  hosts: number
  score: number
  coverage: number
  opened: number | null
  closed: number | null
}

async function series(query: string): Promise<Point[]> {
  const { status, body } = await world.api('GET', `/v1/scores?${query}`, { role: 'viewer' })
  expect(status).toBe(200)
  return body.items
}
const span = (from: number, to: number, hours: number): string =>
  `from=${ago(from).toISOString()}&to=${ago(to).toISOString()}&step_s=${hours * 3600}`

test('the score of a host follows its evidence: proven, drifted, stale', async () => {
  const points = await series(`system=web-1&${span(195, 75, 24)}`)
  expect(points.map(({ at }) => at)).toEqual(
    [195, 171, 147, 123, 99, 75].map((hours) => ago(hours).toISOString()),
  )
  const [unproven, proven, still, drifted, , stale] = points
  expect(unproven).toMatchObject({ score: 0, coverage: 0, opened: null, closed: null })
  expect(proven?.score).toBeGreaterThan(0.8)
  expect(proven?.coverage).toBeGreaterThan(0.9)
  expect(still).toMatchObject({ score: proven?.score, opened: 0, closed: 0 })
  expect(drifted?.score).toBeLessThan(still?.score ?? 0)
  expect(drifted?.opened).toBeGreaterThan(0)
  // What is asked for once in a month counts longer than what is asked for every hour.
  expect(stale?.score).toBeLessThan(0.05)
  expect(stale?.coverage).toBeLessThan(0.05)
})

test('each point is what the same time says when it is asked about alone', async () => {
  for (const point of await series(`system=web-1&${span(195, 75, 24)}`)) {
    const { body } = await world.api(
      'GET',
      `/v1/systems/web-1/controls?as_of=${encodeURIComponent(point.at)}`,
    )
    expect({ score: body.score, coverage: body.coverage }).toEqual({
      score: point.score,
      coverage: point.coverage,
    })
  }
})

test('evidence that comes later changes no point', async () => {
  const before = await series(`system=web-1&${span(195, 75, 24)}`)
  await showed('web-1', ago(2))
  expect(await series(`system=web-1&${span(195, 75, 24)}`)).toEqual(before)
})

test('a fleet has the hosts that it had then', async () => {
  const points = await series(span(72, 48, 12))
  expect(points.map(({ hosts }) => hosts)).toEqual([1, 2, 2])
})

test('a series goes on from page to page with the same points, and what was opened is told across the border', async () => {
  const whole = await series(`system=web-1&${span(195, 75, 24)}`)
  const paged: Point[] = []
  let cursor = ''
  do {
    const { body } = await world.api('GET', `/v1/scores?system=web-1&${span(195, 75, 24)}&limit=2${cursor}`)
    expect(body.items.length).toBeLessThanOrEqual(2)
    paged.push(...body.items)
    cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor}`
  } while (cursor !== '')
  expect(paged).toEqual(whole)
})

test.each([
  [`system=nobody`, 404, /no system is called "nobody"/],
  [`from=2026-01-02&to=2026-01-01`, 400, /from is 2026-01-02T23:59:59.999Z, which is after to/],
  [
    `from=2020-01-01&to=2026-01-01&step_s=3600`,
    400,
    /makes 52609 points; at most 1000 are computed: use at least/,
  ],
  [`step_s=1`, 400, /step_s is "1": expected 60 to/],
  [`step_s=1e9`, 400, /step_s is "1e9": expected whole seconds/],
  [`to=2999-01-01`, 400, /has not come/],
  [`from=yesterday`, 400, /from is "yesterday"/],
  [`release=V9R9`, 400, /the catalogue has V1R1, V1R2/],
])('scores of %s are refused in one sentence', async (query, status, words) => {
  const answer = await world.api('GET', `/v1/scores?${query}`)
  expect(answer).toMatchObject({ status, body: { detail: expect.stringMatching(words) } })
})

test('cf score shows points with what a score is never shown without', async () => {
  const ran = await cf([
    'score',
    'web-1',
    '--from',
    ago(195).toISOString(),
    '--to',
    ago(147).toISOString(),
    '--step',
    '1d',
  ])
  expect(ran.code).toBe(0)
  expect(ran.out.split('\n')[0]).toMatch(/AT +HOSTS +SCORE +COVERAGE +ACCEPTED +OPEN CAT I +OPENED +CLOSED/)
  expect(ran.out).toMatch(/0\.0 % +0\.0 %/)
  expect(ran.out.split('\n')).toHaveLength(4)
  expect((await cf(['score', '--step', 'daily'])).err).toMatch(/--step is "daily"/)
  expect((await cf(['score', '--json'])).code).toBe(0)
})

test('a commit says what it opens and closes, against the one before it that has a report', async () => {
  await evaluated(
    reportOf(catalogue, (rules) => {
      for (const id of ['V-268137', 'V-268139', 'V-268141'])
        rules[id] = {
          ...(rules[id] as NonNullable<(typeof rules)[string]>),
          ...lost(),
          definedIn: ['hosts/web-1.nix'],
        }
    }),
    ago(100),
    { rev: rev('2'), toplevel: TOPLEVEL.replace('aaaa', 'bbbb') },
  )
  await evaluated(
    reportOf(catalogue, (rules) => {
      rules['V-268137'] = { ...(rules['V-268137'] as NonNullable<(typeof rules)[string]>), ...lost() }
    }),
    ago(90),
    { rev: rev('3'), toplevel: TOPLEVEL.replace('aaaa', 'cccc') },
  )
  const of = async (digit: string): Promise<Record<string, { rule: string }[]>> => {
    const answer = await world.api('GET', `/v1/commits/${rev(digit)}/controls`, { role: 'viewer' })
    expect(answer).toMatchObject({
      status: 200,
      body: { flake: 'fleet', rev: rev(digit), next_cursor: null },
    })
    return answer.body.items[0]
  }
  const first = await of('1')
  expect(first).toMatchObject({ configuration: 'web-1', before: null, closed: [], changed: [] })
  // Rules whose parameters a site has to set.
  expect(first['opened']?.map(({ rule }) => rule)).toEqual(['V-268108', 'V-268109', 'V-268124'])
  const second = await of('2')
  expect(second).toMatchObject({ before: { rev: rev('1'), release: 'V1R2' }, closed: [] })
  expect(second['opened']?.map(({ rule }) => rule)).toEqual(['V-268137', 'V-268139', 'V-268141'])
  expect(second['opened']?.[0]).toMatchObject({
    before: 'active',
    after: 'inactive',
    defined_in: ['hosts/web-1.nix'],
  })
  const third = await of('3')
  expect(third['closed']?.map(({ rule }) => rule)).toEqual(['V-268139', 'V-268141'])
  const ran = await cf(['controls', '--commit', rev('3').slice(0, 12)])
  expect(ran.out).toMatch(/^fleet#web-1: opened 0, closed 2, changed 0 \(since 222222222222\)/)
  expect((await cf(['controls', '--commit', rev('1').slice(0, 12)])).out).toMatch(
    /opened 3, .*\(nothing was before\)/,
  )
  expect((await cf(['controls', '--commit', 'fffffff'])).code).toBe(3)
  expect((await cf(['controls', '--configuration', 'web-1'])).code).toBe(2)
})

test('a new release says which hosts it flips before anybody adopts it, and nothing is stored', async () => {
  await showed('web-1', ago(1))
  const { body } = await world.api('GET', '/v1/exports/xccdf?system=web-1')
  const [, dropped = ''] =
    /(<Group id="xccdf_mil.disa.stig_group_V-268078">[\s\S]*?<\/Group>)/.exec(body.document) ?? []
  expect(dropped).not.toBe('')
  const next = String(body.document)
    .replace('<version>V1R2</version>', '<version>V1R3</version>')
    .replace(dropped, '')
  const before = await world.rows('select count(*) from audit_event')
  const answer = await world.api('POST', '/v1/imports', {
    role: 'operator',
    body: { document: next, dry_run: true },
  })
  expect(answer).toMatchObject({
    status: 200,
    body: { release: 'V1R3', removed: ['V-268078'], hosts: { looked_at: 2, more: false }, flips_left_out: 0 },
  })
  const flips: { hostname: string; rule: string; after: string | null }[] = answer.body.flips
  expect(flips).toContainEqual(expect.objectContaining({ hostname: 'web-1', rule: 'V-268078', after: null }))
  expect(answer.body.hosts.flipped).toBe(new Set(flips.map(({ hostname }) => hostname)).size)
  expect(await world.rows('select count(*) from audit_event')).toEqual(before)
  const file = join(directory, 'next.xml')
  await writeFile(file, next)
  const ran = await cf(['import', file, '--dry-run'])
  expect(ran.code).toBe(4)
})
