import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, migrate, readDatabaseUrl, readMigrations } from '@crystal-forge/postgres'
import type pg from 'pg'
import * as z from 'zod'
import { app } from '../functions/operator-api/app.ts'
import { readConfig } from '../functions/operator-api/config.ts'
import { ROUTES } from '../functions/routes.ts'
import { startEmbeddedPostgres } from '../server/src/embedded-postgres.ts'
import { createGateway } from '../server/src/gateway.ts'
import { type FleetSize, fillLargeFleet } from './large-fleet.ts'
import { quantile } from './load.ts'
import type { Measured } from './measured.ts'

/**
 * P8: what an operator asks for at 10 000 systems with 60 commits, 600 000 evaluations, 100 000 states and 200 000 findings
 * behind them, through the gateway and the handler, one question after the other. The rival is the question "who is behind"
 * put to the same rows in the way of the original's views, which walk the history for each answer.
 */
export async function measureLists(size: FleetSize = SIZE): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-bench-'))
  const postgres = await startEmbeddedPostgres({ dataDir: directory, access: 'trust' })
  const admin = connect({ ...readDatabaseUrl(postgres.url), max: 2, statementTimeoutMs: 600_000 })
  try {
    const session = await admin.connect()
    try {
      await migrate(session, await readMigrations(join(import.meta.dirname, '../migrations')))
    } finally {
      session.release()
    }
    const { token } = await fillLargeFleet(admin, size)
    const server = await operatorServer(postgres.url, directory)
    const rows = []
    const all: number[] = []
    for (const question of QUESTIONS) {
      const took = await ask(`${server.url}${question}`, token)
      all.push(...took.ms)
      rows.push(rowOf(question, took.ms, took.items))
    }
    const walked = await walkHistory(admin)
    rows.push(rowOf('behind, walking the history (rival)', walked.ms, walked.items))
    await server.close()
    const p95 = Math.round(quantile(all, 0.95))
    const worst = Math.max(...rows.slice(0, -1).map((row) => Number(row['p95 ms'])))
    const ratio = (
      quantile(walked.ms, 0.5) / Number(rows.find((row) => row['question'] === BEHIND)?.['p50 ms'])
    ).toFixed(1)
    return {
      settings: { ...size, rounds: ROUNDS },
      rows,
      verdict: `p95 ${p95} ms over all questions, ${worst} ms for the slowest (to reach: 150 ms); "who is behind" ${ratio} times as fast as a walk over the history`,
    }
  } finally {
    await admin.end()
    await postgres.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

const SIZE: FleetSize = { systems: 10_000, commits: 60, states: 10, findings: 20 }
const ROUNDS = 20
const BEHIND = '/v1/drift?verdict=behind&limit=50'

/** One of each list, and each kind of filter: what all rows pass, what some do, what none does. */
const QUESTIONS = [
  '/v1/systems?limit=50',
  '/v1/systems?environment=lab&limit=50',
  '/v1/systems?q=0999&limit=50',
  '/v1/systems?health=warning&limit=50',
  '/v1/systems?verdict=unattributed&limit=50',
  '/v1/systems?verdict=build_failed&limit=50',
  '/v1/drift?limit=50',
  BEHIND,
  '/v1/systems/host-05000/drift',
  '/v1/commits?limit=50',
  '/v1/evaluations?limit=50',
  '/v1/evaluations?state=error&limit=50',
  '/v1/evaluations?configuration=host-05000&limit=50',
  '/v1/derivations?state=failed&limit=50',
  '/v1/derivations?state=building&limit=50',
  '/v1/jobs?limit=50',
  '/v1/jobs?state=failed&limit=50',
  '/v1/jobs?kind=scan&limit=50',
  '/v1/findings?limit=50',
  '/v1/findings?min_cvss=9&limit=50',
  '/v1/findings?cve=CVE-2026-00100&limit=50',
  '/v1/findings?package=openssl&limit=50',
  '/v1/findings?package=nothing&limit=50',
  '/v1/events?limit=50',
  '/v1/events?type=config.changed&limit=50',
  '/v1/events?type=host.enrolled&limit=50',
  '/v1/environments',
  '/v1/flakes',
  '/v1/builders',
]

const page = z.looseObject({ items: z.array(z.unknown()).optional() })

async function ask(url: string, token: string): Promise<{ ms: number[]; items: number }> {
  const ms: number[] = []
  let items = 0
  for (let round = -1; round < ROUNDS; round++) {
    const startedAt = performance.now()
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
    const text = await response.text()
    // The first one warms up.
    if (round >= 0) ms.push(performance.now() - startedAt)
    if (!response.ok) throw new Error(`${url}: ${response.status} ${text.slice(0, 500)}`)
    items = page.parse(JSON.parse(text)).items?.length ?? 1
  }
  return { ms, items }
}

/** The newest state of each host, its commit by the paths of all evaluations, and the commits after that one. */
const WALK = `
with newest as (
  select distinct on (system_id) system_id, current_path from system_state order by system_id, received_at desc
), runs as (
  select n.system_id, c.flake_id, max(c.committed_at) as committed_at
  from newest n
  join derivation d on d.out_path = n.current_path
  join evaluation e on e.derivation_id = d.id
  join commit c on c.id = e.commit_id
  group by n.system_id, c.flake_id
)
select * from (
  select s.hostname, (select count(*) from commit c where c.flake_id = r.flake_id and c.committed_at > r.committed_at) as behind
  from system s join runs r on r.system_id = s.id
) drift
where behind > 0 order by hostname limit 50`

async function walkHistory(admin: pg.Pool): Promise<{ ms: number[]; items: number }> {
  const ms: number[] = []
  let items = 0
  for (let round = -1; round < ROUNDS / 4; round++) {
    const startedAt = performance.now()
    items = (await admin.query(WALK)).rows.length
    if (round >= 0) ms.push(performance.now() - startedAt)
  }
  return { ms, items }
}

async function operatorServer(
  databaseUrl: string,
  directory: string,
): Promise<{ url: string; close(): Promise<void> }> {
  const sealingKey = join(directory, 'seal.key')
  await writeFile(sealingKey, randomBytes(32).toString('base64'), { mode: 0o600 })
  const { hostname, port, pathname } = new URL(databaseUrl)
  const config = readConfig({
    DATABASE_HOST: hostname,
    DATABASE_PORT: port,
    DATABASE_NAME: pathname.slice(1),
    DATABASE_USER: 'cf_operators',
    DATABASE_AUTH: 'trust',
    SEALING_KEY_FILE: sealingKey,
  })
  const operators = app(config, { log: (_, message, fields) => console.error(message, fields) })
  const server = createGateway({
    routes: ROUTES,
    handler: () => operators.handler,
    log: () => {},
    afterAnswer: () => {},
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await operators.close()
    },
  }
}

function rowOf(
  question: string,
  ms: readonly number[],
  items: number,
): Readonly<Record<string, string | number>> {
  const at = (share: number): number => Number(quantile(ms, share).toFixed(1))
  return { question, items, 'p50 ms': at(0.5), 'p95 ms': at(0.95) }
}
