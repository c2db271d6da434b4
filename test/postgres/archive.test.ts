import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { archiveAgeS, connect, type Pool, readDatabaseUrl } from '@crystal-forge/postgres'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/src/embedded-postgres.ts'

let directory: string
let server: EmbeddedPostgres
let pool: Pool

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-archive-'))
  await chmod(directory, 0o755)
  await start()
}, 120_000)
afterAll(async () => {
  await stop()
  await rm(directory, { recursive: true, force: true })
})

test('a server without an archive has no age of it', async () => {
  expect(await archiveAgeS(pool)).toBeUndefined()
})

test('the age is that of the last part that arrived, and grows while none arrives', async () => {
  await pool.query(`alter system set archive_mode = 'on'`)
  await pool.query(`alter system set archive_command = 'true'`)
  await stop()
  await start()
  const begun = (await archiveAgeS(pool)) ?? Number.NaN
  // Before anything was archived, since the figures of the archiver began.
  expect(begun).toBeGreaterThan(0)

  await closePart()
  await vi.waitFor(async () => expect((await archiver()).archived_count).toBeGreaterThan(0), 30_000)
  const arrived = (await archiver()).last_archived_time
  expect(await archiveAgeS(pool)).toBeLessThan(begun + 30)

  await pool.query(`alter system set archive_command = 'false'`)
  await pool.query('select pg_reload_conf()')
  await closePart()
  await vi.waitFor(async () => expect((await archiver()).failed_count).toBeGreaterThan(0), 30_000)
  expect((await archiver()).last_archived_time).toEqual(arrived)
  const [row] = (
    await pool.query(`select extract(epoch from clock_timestamp() - $1::timestamptz)::float8 as age`, [
      arrived,
    ])
  ).rows
  expect(await archiveAgeS(pool)).toBeGreaterThanOrEqual(row.age)
}, 120_000)

test('any role may ask', async () => {
  await pool.query('create role somebody login')
  const theirs = connect({
    ...target(),
    user: 'somebody',
    max: 1,
    password: undefined,
    tls: undefined,
    applicationName: 'test',
  })
  try {
    expect(await archiveAgeS(theirs)).toBeGreaterThan(0)
  } finally {
    await theirs.end()
  }
})

async function start(): Promise<void> {
  server = await startEmbeddedPostgres({ dataDir: directory, access: 'trust', ephemeral: true })
  pool = connect({ ...target(), max: 1 })
}

async function stop(): Promise<void> {
  await pool.end()
  await server.stop()
}

function target() {
  return readDatabaseUrl(server.url)
}

/** Something has to be written, or Postgres sees no reason to begin another part of its log. */
async function closePart(): Promise<void> {
  await pool.query('create table if not exists filling ()')
  await pool.query('comment on table filling is $$something new$$')
  await pool.query('select pg_switch_wal()')
}

async function archiver(): Promise<{
  archived_count: number
  failed_count: number
  last_archived_time: Date
}> {
  return (await pool.query('select archived_count, failed_count, last_archived_time from pg_stat_archiver'))
    .rows[0]
}
