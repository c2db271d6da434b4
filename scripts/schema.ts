import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { migrate, readMigrations } from '@crystal-forge/postgres'
import pg from 'pg'
import { startEmbeddedPostgres } from '../server/src/embedded-postgres.ts'
import { databaseTypes } from './database-types.ts'
import { dumpSchema } from './dump-schema.ts'

// `npm run schema [-- --check]`: writes what the migrations make, for review (test/schema.sql) and for the compiler
// (packages/postgres/src/database.generated.ts), and their names for the functions, which work on no other schema
// (packages/postgres/src/migration-names.generated.ts); or says which of them is stale.
const root = join(import.meta.dirname, '..')

type Generated = { readonly path: string; readonly text: string }

async function main(argv: readonly string[]): Promise<number> {
  const unknown = argv.find((argument) => argument !== '--check')
  if (unknown !== undefined) {
    console.error(`schema: unknown argument ${JSON.stringify(unknown)}; the only one is --check`)
    return 2
  }
  const files = await onFreshDatabase(generate)
  return argv.includes('--check') ? check(files) : write(files)
}

async function generate(url: string): Promise<Generated[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const migrations = await readMigrations(join(root, 'migrations'))
    await migrate(client, migrations)
    return [
      { path: join(root, 'test/schema.sql'), text: await dumpSchema(client) },
      { path: join(root, 'packages/postgres/src/database.generated.ts'), text: await databaseTypes(url) },
      {
        path: join(root, 'packages/postgres/src/migration-names.generated.ts'),
        text: migrationNames(migrations.files.map(({ name }) => name)),
      },
    ]
  } finally {
    await client.end()
  }
}

function migrationNames(names: readonly string[]): string {
  const list = [...names].sort().map((name) => `  '${name}',\n`)
  return `/** The numbered files of migrations/ that this version was made with. Written by \`npm run schema\`. */
export const MIGRATION_NAMES: readonly string[] = [
${list.join('')}]
`
}

async function write(files: readonly Generated[]): Promise<number> {
  for (const { path, text } of files) {
    await writeFile(path, text)
    console.log(`schema: wrote ${relative(root, path)}`)
  }
  return 0
}

async function check(files: readonly Generated[]): Promise<number> {
  const stale: string[] = []
  for (const { path, text } of files) {
    const written = await readFile(path, 'utf8').catch(() => '')
    if (written !== text) stale.push(relative(root, path))
  }
  for (const path of stale) console.error(`schema: ${path} is not what the migrations make: npm run schema`)
  return stale.length === 0 ? 0 : 1
}

async function onFreshDatabase<T>(work: (url: string) => Promise<T>): Promise<T> {
  const dataDir = await mkdtemp(join(tmpdir(), 'cf-schema-'))
  await chmod(dataDir, 0o755)
  const postgres = await startEmbeddedPostgres({ dataDir, access: 'trust', ephemeral: true })
  try {
    return await work(postgres.url)
  } finally {
    await postgres.stop()
    for (const path of [dataDir, postgres.cluster]) await rm(path, { recursive: true, force: true })
  }
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(`schema: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
