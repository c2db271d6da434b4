import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'

/**
 * Row types of every table and view of a migrated database, as `connect` of packages/postgres returns them: int8 a
 * number, numeric, date and timestamp text, an interval an object of the driver's. Free of kysely, which is no
 * dependency: the one type that would come from there is written out, with the same shape.
 */
export async function databaseTypes(url: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-types-'))
  try {
    const out = join(directory, 'database.ts')
    await run([
      join(dirname(createRequire(import.meta.url).resolve('kysely-codegen/package.json')), 'dist/cli/bin.js'),
      ...['--dialect', 'postgres', '--url', url, '--out-file', out, '--log-level', 'error'],
      ...['--numeric-parser', 'string', '--date-parser', 'string'],
      ...['--type-mapping', JSON.stringify({ int8: 'number', timestamp: 'string', interval: 'object' })],
    ])
    return withoutKysely(await readFile(out, 'utf8'))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function withoutKysely(types: string): string {
  const replaced = types.replace(KYSELY_IMPORT, COLUMN_TYPE)
  if (replaced.includes('kysely"')) throw new Error('kysely-codegen imports more from kysely than ColumnType')
  return replaced
}

const KYSELY_IMPORT = 'import type { ColumnType } from "kysely";'
const COLUMN_TYPE = `/** What a column yields, what an insert takes, what an update takes. */
export type ColumnType<Select, Insert = Select, Update = Select> = {
  readonly __select__: Select;
  readonly __insert__: Insert;
  readonly __update__: Update;
};`

async function run(argv: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] })
  const code = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  const [said, ended] = await Promise.all([text(child.stderr), code])
  if (ended !== 0) throw new Error(`kysely-codegen ended with code ${ended}: ${said}`)
}
