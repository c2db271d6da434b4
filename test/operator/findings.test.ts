import { afterAll, beforeAll, expect, test } from 'vitest'
import { type OperatorWorld, operatorWorld, path, rev } from './world.ts'

// Five hosts, three of which run the same path: 2 100 findings there, a few of them rare, and one of another scan.
let world: OperatorWorld
let all: Found[]

beforeAll(async () => {
  world = await operatorWorld()
  const hosts = ['web-1', 'web-2', 'db-1', 'lab-1', 'silent']
  const systems = hosts.map((hostname) => ({
    hostname,
    environment: hostname === 'lab-1' ? 'lab' : 'production',
    flake_name: 'fleet',
  }))
  const flakes = [{ name: 'fleet', repo_url: 'https://git.example.com/ops/fleet', auto_poll: false }]
  const environments = [{ name: 'lab' }, { name: 'production' }]
  const body = { flakes, environments, systems }
  expect(await world.api('PUT', '/v1/fleet', { body })).toMatchObject({ status: 200 })
  await world.commits('fleet', [rev('1')])
  await world.evaluate(rev('1'), 'web-1', { outPath: path('a', 'shared') })
  await world.evaluate(rev('1'), 'db-1', { outPath: path('b', 'db') })
  for (const host of ['web-1', 'web-2', 'lab-1']) await world.report(host, { current: path('a', 'shared') })
  await world.report('db-1', { current: path('b', 'db') })
  await scanned(path('a', 'shared'), '2026-11-01', 30)
  await scanned(path('a', 'shared'), '2026-11-20', 2100)
  await scanned(path('b', 'db'), '2026-11-20', 10)
  all = (await world.rows('select * from finding_list order by hostname, id')).map(found)
})
afterAll(() => world.stop())

type Found = {
  readonly hostname: string
  readonly environment: string
  readonly cve: string
  readonly package: string
  readonly cvss3: number | null
  readonly version: string
}

function found(row: Record<string, unknown>): Found {
  const { hostname, environment, cve, package: name, cvss3, version } = row as Found
  return { hostname, environment, cve, package: name, cvss3, version }
}

async function scanned(outPath: string, at: string, findings: number): Promise<void> {
  await world.rows(
    `with j as (insert into job (tenant_id, kind, subject, payload, state, finished_at) values ($1, 'scan', 'drv', '{}', 'succeeded', now()) returning id),
          c as (insert into cve (tenant_id, id, cvss3)
                select $1, 'CVE-2026-' || lpad(n::text, 4, '0'), case when n = 0 then null else (n % 100) / 10.0 end
                from generate_series(0, 199) n on conflict do nothing),
          s as (insert into scan (tenant_id, derivation_id, out_path, job_id, outcome, scanner, scanned_at)
                select $1, d.id, d.out_path, j.id, 'scanned', 'vulnix', $3 from derivation d, j where d.out_path = $2 returning id)
     insert into finding (tenant_id, scan_id, out_path, cve_id, package, version)
     select $1, s.id, $2, 'CVE-2026-' || lpad((n % 200)::text, 4, '0'), case when n % 700 = 7 then 'few' else 'many' end, $3 || '/' || n
     from s, generate_series(1, $4::int) n`,
    [world.tenant, outPath, at, findings],
  )
}

async function pages(query: string): Promise<Found[]> {
  const items: Found[] = []
  let cursor: unknown = ''
  do {
    const { status, body } = await world.api(
      'GET',
      `/v1/findings?limit=200${query}${cursor === '' ? '' : `&cursor=${cursor}`}`,
    )
    expect(status).toBe(200)
    items.push(...body.items.map(found))
    cursor = body.next_cursor
  } while (cursor !== null)
  return items
}

test('there is something to be found, of the newest scan only', () => {
  expect(all).toHaveLength(3 * 2100 + 10)
  expect(all.filter(({ version }) => version.startsWith('2026-11-01'))).toEqual([])
})

test.each<[what: string, query: string, is: (one: Found) => boolean]>([
  ['everything', '', () => true],
  [
    'a package that all have',
    '&package=many&environment=production',
    (one) => one.package === 'many' && one.environment === 'production',
  ],
  ['a package that few have', '&package=few', (one) => one.package === 'few'],
  ['a package that none has', '&package=none', () => false],
  ['one CVE', '&cve=CVE-2026-0042', (one) => one.cve === 'CVE-2026-0042'],
  ['a CVE without a score', '&cve=CVE-2026-0000&min_cvss=0', () => false],
  [
    'most of the scores',
    '&min_cvss=0.1&environment=production',
    (one) => (one.cvss3 ?? 0) >= 0.1 && one.environment === 'production',
  ],
  ['few of the scores', '&min_cvss=9.9', (one) => (one.cvss3 ?? 0) >= 9.9],
  ['a score that none has', '&min_cvss=10', () => false],
  ['an environment', '&environment=lab', (one) => one.environment === 'lab'],
  ['a host without findings', '&system=silent', () => false],
  ['another flake', '&flake=other', () => false],
])('%s is listed whole and in order, page by page', async (_, query, is) => {
  expect(await pages(query)).toEqual(all.filter(is))
})
