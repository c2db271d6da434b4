import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { MigrationSet, SqlFile } from './migrate.ts'

/** Reads `directory/*.sql` and `directory/views/*.sql`. A missing `views` means that there are none. */
export async function readMigrations(directory: string): Promise<MigrationSet> {
  return {
    files: await sqlFiles(directory),
    views: await sqlFiles(join(directory, 'views'), 'may be missing'),
  }
}

async function sqlFiles(directory: string, missing?: 'may be missing'): Promise<SqlFile[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (missing && error.code === 'ENOENT') return []
    throw error
  })
  const sql = names.filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(sql.map(async (name) => ({ name, sql: await readFile(join(directory, name), 'utf8') })))
}
