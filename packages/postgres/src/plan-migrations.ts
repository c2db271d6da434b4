import { createHash } from 'node:crypto'

/** A file of SQL as data, so that a bundle can carry it. */
export type SqlFile = { readonly name: string; readonly sql: string }

/** A row of the bookkeeping. */
export type Applied = { readonly name: string; readonly sha256: string; readonly compatible: boolean }

/** A numbered file whose heading was read. */
export type Numbered = SqlFile & {
  readonly sha256: string
  /** Programs that do not know the file can live with its result. */
  readonly compatible: boolean
  /** Must not run inside a transaction. */
  readonly alone: boolean
}

export type Plan = {
  readonly pending: readonly Numbered[]
  /** Applied files that this program does not know. */
  readonly newer: readonly string[]
  readonly notices: readonly string[]
}

/** Decides what to apply, or throws an error that names the file and the remedy. Pure. */
export function planMigrations(files: readonly SqlFile[], applied: readonly Applied[]): Plan {
  const known = [...files].sort((a, b) => (a.name < b.name ? -1 : 1)).map(readHeading)
  known.forEach(checkNumber)
  for (const row of applied) checkUnedited(row, known)
  const newer = applied.filter((row) => !known.some(({ name }) => name === row.name))
  refuseBreaking(newer)
  const pending = known.filter(({ name }) => !applied.some((row) => row.name === name))
  refuseBelowApplied(pending, applied)
  return { pending, newer: newer.map(({ name }) => name), notices: newer.map(noticeOf) }
}

function readHeading(file: SqlFile): Numbered {
  const heading = file.sql.split('\n', HEADING_LINES_MAX)
  const first = heading[0]?.trim()
  if (first !== '-- compatible' && first !== '-- breaking') {
    throw new Error(
      `${file.name}: line 1 must be "-- compatible" or "-- breaking": can programs of the version before live with it?`,
    )
  }
  const comments = heading.slice(0, heading.findIndex((line) => !line.startsWith('--')) >>> 0)
  const alone = comments.some((line) => line.trim() === '-- no-transaction')
  if (alone && file.sql.includes('$$')) {
    throw new Error(
      `${file.name}: a file with "-- no-transaction" holds plain statements only, without $$ bodies`,
    )
  }
  const sha256 = createHash('sha256').update(file.sql).digest('hex')
  return { ...file, sha256, compatible: first === '-- compatible', alone }
}

function checkNumber(file: Numbered, index: number): void {
  if (!FILE_NAME.test(file.name)) {
    throw new Error(`${file.name}: a migration is called NNNN_what_it_makes.sql, in lower case`)
  }
  const expected = String(index + 1).padStart(4, '0')
  if (!file.name.startsWith(`${expected}_`)) {
    throw new Error(`${file.name}: the next number is ${expected}; numbers have neither gaps nor repeats`)
  }
}

function checkUnedited(row: Applied, known: readonly Numbered[]): void {
  const file = known.find(({ name }) => name === row.name)
  if (!file || file.sha256 === row.sha256) return
  throw new Error(
    `${row.name}: edited after it was applied (applied ${row.sha256.slice(0, 12)}, now ${file.sha256.slice(0, 12)}): ` +
      'restore the file and put the change into a new one',
  )
}

function refuseBreaking(newer: readonly Applied[]): void {
  const breaking = newer.filter(({ compatible }) => !compatible)
  if (breaking.length === 0) return
  throw new Error(
    `the schema is newer than this program: it does not know ${breaking.map(({ name }) => name).join(', ')}, ` +
      'which programs of this version cannot live with: upgrade the program',
  )
}

function refuseBelowApplied(pending: readonly Numbered[], applied: readonly Applied[]): void {
  const highest = applied.at(-1)?.name ?? ''
  const late = pending.find(({ name }) => name < highest)
  if (late)
    throw new Error(`${late.name}: sorts below ${highest}, which is already applied: give it the next number`)
}

function noticeOf(row: Applied): string {
  return `the schema holds ${row.name}, which this program does not know and can live with`
}

const FILE_NAME = /^\d{4}_[a-z0-9_]{1,60}\.sql$/
/** The heading comment of a migration is short; a marker further down is not a marker. */
const HEADING_LINES_MAX = 40
