import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from './database.ts'
import { type Applied, type Numbered, planMigrations, type SqlFile } from './plan-migrations.ts'

export type { SqlFile } from './plan-migrations.ts'

export type MigrationSet = {
  /** `NNNN_name.sql`, applied once each, in order, never edited afterwards. */
  readonly files: readonly SqlFile[]
  /** Views and functions, `create or replace`, applied again in the order of their names whenever anything changed. */
  readonly views: readonly SqlFile[]
}

export type Migrated = {
  /** Numbered files that this run applied. */
  readonly applied: readonly string[]
  /** Repeatable files that this run applied. */
  readonly views: readonly string[]
  /** What an operator should read, for instance that the schema is newer than this program. */
  readonly notices: readonly string[]
}

/**
 * Brings the schema to `set`. Safe when several programs start at once: one applies, the others find it done. Line 1 of
 * a numbered file says whether older programs can live with it (`-- compatible` or `-- breaking`). Each file is one
 * transaction; one that must not be (`create index concurrently`) says `-- no-transaction` in its heading comment, holds
 * plain statements that end in `;` at the end of a line, and can be run again after a failure halfway.
 *
 * Errors begin with the file's name and leave every earlier file applied. Refused: a file that was edited after it was
 * applied, a file that sorts below an applied one, a gap in the numbers, a schema with an unknown `-- breaking` file.
 *
 * @param session one connection, not a pool: the lock belongs to it.
 */
export async function migrate(session: Database, set: MigrationSet): Promise<Migrated> {
  await session.query('set statement_timeout = 0')
  await lock(session)
  try {
    await session.query(BOOKKEEPING)
    const plan = planMigrations(set.files, await appliedFiles(session))
    for (const file of plan.pending) await applyNumbered(session, file)
    // Views of this program would undo those of a newer one.
    const views = plan.newer.length > 0 ? [] : await applyViews(session, set.views, plan.pending.length > 0)
    return { applied: plan.pending.map(({ name }) => name), views, notices: plan.notices }
  } finally {
    await session.query(`select pg_advisory_unlock(${LOCK_KEY})`)
    await session.query('reset statement_timeout')
  }
}

/** The state of a schema as seen by a program that does not migrate. */
export type SchemaCheck =
  | { readonly kind: 'usable'; readonly newer: readonly string[] }
  | { readonly kind: 'behind'; readonly missing: readonly string[] }
  | { readonly kind: 'too-new'; readonly breaking: readonly string[] }

/**
 * Whether a program that was made for the numbered files `known` can work on this schema: all of them are applied, and
 * whatever else is there calls itself compatible. Any role may ask.
 */
export async function checkSchema(database: Database, known: readonly string[]): Promise<SchemaCheck> {
  const { rows } = await database.query<{ found: boolean }>(
    "select to_regclass('schema_migration') is not null as found",
  )
  const applied = rows[0]?.found ? await appliedFiles(database) : []
  const unknown = applied.filter(({ name }) => !known.includes(name))
  const breaking = unknown.filter(({ compatible }) => !compatible).map(({ name }) => name)
  if (breaking.length > 0) return { kind: 'too-new', breaking }
  const missing = known.filter((name) => !applied.some((file) => file.name === name))
  if (missing.length > 0) return { kind: 'behind', missing }
  return { kind: 'usable', newer: unknown.map(({ name }) => name) }
}

async function lock(session: Database): Promise<void> {
  // Asking again and again, because a session that waits inside a statement holds a snapshot, and `create index
  // concurrently` in the session that has the lock would wait for it forever.
  const deadline = Date.now() + LOCK_WAIT_MS_MAX
  while (Date.now() < deadline) {
    const { rows } = await session.query<{ mine: boolean }>(
      `select pg_try_advisory_lock(${LOCK_KEY}) as mine`,
    )
    if (rows[0]?.mine) return
    await sleep(LOCK_RETRY_MS)
  }
  throw new Error(
    `another program has been migrating this database for ${LOCK_WAIT_MS_MAX / 60_000} minutes: is it stuck?`,
  )
}

async function appliedFiles(database: Database): Promise<Applied[]> {
  const { rows } = await database.query<Applied>(
    'select name, sha256, compatible from schema_migration order by name',
  )
  return rows
}

async function applyNumbered(session: Database, file: Numbered): Promise<void> {
  const book = (): Promise<unknown> =>
    session.query('insert into schema_migration (name, sha256, compatible) values ($1, $2, $3)', [
      file.name,
      file.sha256,
      file.compatible,
    ])
  if (file.alone) {
    for (const statement of file.sql.split(STATEMENT_END)) {
      if (statement.trim() !== '') await named(file, () => session.query(statement))
    }
    await book()
    return
  }
  await inOneTransaction(session, async () => {
    // First, so that of two runners that somehow got here only one goes on.
    await named(file, book)
    await named(file, () => session.query(file.sql))
  })
}

async function applyViews(
  session: Database,
  views: readonly SqlFile[],
  force: boolean,
): Promise<readonly string[]> {
  const sorted = [...views].sort((a, b) => (a.name < b.name ? -1 : 1))
  const { rows } = await session.query<{ name: string; sha256: string }>(
    'select name, sha256 from schema_repeatable',
  )
  const known = new Map(rows.map(({ name, sha256 }) => [name, sha256]))
  const same =
    sorted.every((file) => known.get(file.name) === sha256(file.sql)) && known.size === sorted.length
  if (same && !force) return []
  await inOneTransaction(session, async () => {
    await session.query('delete from schema_repeatable')
    // Twice: a function may call one that stands further down, and yet every body is checked.
    await session.query('set local check_function_bodies = off')
    for (const file of sorted) await named(file, () => session.query(file.sql))
    await session.query('set local check_function_bodies = on')
    for (const file of sorted) {
      await named(file, () => session.query(file.sql))
      await session.query('insert into schema_repeatable (name, sha256) values ($1, $2)', [
        file.name,
        sha256(file.sql),
      ])
    }
  })
  return sorted.map(({ name }) => name)
}

async function inOneTransaction(session: Database, work: () => Promise<void>): Promise<void> {
  await session.query('begin')
  try {
    await work()
    await session.query('commit')
  } catch (error) {
    await session.query('rollback').catch(() => {})
    throw error
  }
}

async function named(file: SqlFile, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`${file.name}${lineOf(cause, file.sql)}: ${message}`, { cause })
  }
}

function lineOf(error: unknown, sql: string): string {
  if (!(error instanceof Error) || !('position' in error) || typeof error.position !== 'string') return ''
  return `:${sql.slice(0, Number(error.position)).split('\n').length}`
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Every role reads the first table, so that a program can refuse a schema that it does not know. */
const BOOKKEEPING = `
  create table if not exists schema_migration (
    name text primary key,
    sha256 text not null,
    compatible boolean not null,
    applied_at timestamptz not null default now()
  );
  create table if not exists schema_repeatable (name text primary key, sha256 text not null);
  grant select on schema_migration to public;`

const STATEMENT_END = /;[ \t]*(?:--.*)?$/m
/** Any number that no other program uses on this database: the letters "cfmigr". */
const LOCK_KEY = 0x63666d696772
/** An index over years of reports takes minutes. */
const LOCK_WAIT_MS_MAX = 30 * 60_000
const LOCK_RETRY_MS = 25
