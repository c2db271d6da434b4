import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readMigrations } from './read-migrations.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-migrations-'))
afterAll(() => rmSync(root, { recursive: true }))

test('SQL files are read in order, other files are not migrations', async () => {
  for (const name of ['0002_b.sql', '0001_a.sql', 'README.md']) writeFileSync(join(root, name), name)
  expect(await readMigrations(root)).toEqual({
    files: [
      { name: '0001_a.sql', sql: '0001_a.sql' },
      { name: '0002_b.sql', sql: '0002_b.sql' },
    ],
    views: [],
  })
  mkdirSync(join(root, 'views'))
  writeFileSync(join(root, 'views', 'v.sql'), 'v')
  expect((await readMigrations(root)).views).toEqual([{ name: 'v.sql', sql: 'v' }])
})

test('a missing directory is an error, not an empty set', async () => {
  await expect(readMigrations(join(root, 'nowhere'))).rejects.toThrow(/ENOENT.*nowhere/)
})
