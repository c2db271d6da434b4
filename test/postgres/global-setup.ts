import { chmod, mkdtemp, readdir, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrate, readMigrations } from '@crystal-forge/postgres'
import pg from 'pg'
import type { TestProject } from 'vitest/node'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/src/embedded-postgres.ts'
import { livePostmaster, stopPostmaster } from '../../server/src/postmaster.ts'

/** What test files learn about the cluster of this run. */
export type TestCluster =
  | { readonly kind: 'ready'; readonly url: string; readonly template: string }
  /** Tests that need no database still run; those that do fail with this reason. */
  | { readonly kind: 'failed'; readonly because: string }

declare module 'vitest' {
  export interface ProvidedContext {
    testCluster: TestCluster
  }
}

/** One throw-away cluster for the whole run, with a template database that was migrated once. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const parent = await fastDirectory()
  await sweepKilledRuns(parent)
  const dataDir = await mkdtemp(join(parent, `${PREFIX}${process.pid}-`))
  await chmod(dataDir, 0o755)
  const postgres = await startEmbeddedPostgres({ dataDir, access: 'trust', ephemeral: true })
  project.provide('testCluster', await prepared(postgres))
  return async () => {
    await postgres.stop()
    for (const path of [dataDir, postgres.cluster]) await rm(path, { recursive: true, force: true })
  }
}

/** Memory, when there is plenty: copying a template takes a quarter of the time it takes on a disk. */
async function fastDirectory(): Promise<string> {
  const room = await statfs(MEMORY).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  )
  return room > MEMORY_BYTES_MIN ? MEMORY : tmpdir()
}

async function prepared(postgres: EmbeddedPostgres): Promise<TestCluster> {
  try {
    await makeTemplate(postgres.url)
    return { kind: 'ready', url: postgres.url, template: TEMPLATE }
  } catch (error) {
    return { kind: 'failed', because: `the template database could not be made: ${error}` }
  }
}

async function makeTemplate(url: string): Promise<void> {
  await withClient(url, (client) => client.query(`create database ${TEMPLATE}`))
  const migrations = await readMigrations(join(import.meta.dirname, '../../migrations'))
  await withClient(databaseUrl(url, TEMPLATE), (client) => migrate(client, migrations))
}

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}

/** The same server, another database. */
export function databaseUrl(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

/** A run that was killed leaves its server and its files behind. */
async function sweepKilledRuns(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length).split('-')[0]) : undefined
    if (pid === undefined || isAlive(pid)) continue
    const dataDir = join(parent, name)
    const left = await livePostmaster(join(dataDir, 'cluster'))
    if (left) await stopPostmaster(left)
    await rm(dataDir, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const MEMORY = '/dev/shm'
/** A test database takes 10 MB; containers often have 64 MB in all. */
const MEMORY_BYTES_MIN = 4e9
const PREFIX = 'cf-test-postgres-'
const TEMPLATE = 'cf_template'
