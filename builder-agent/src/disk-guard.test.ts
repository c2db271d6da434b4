import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { quietLog } from '../test/quiet-log.ts'
import { diskGuard } from './disk-guard.ts'

test('too little space is said once with the remedy, and so is its end', async () => {
  const log = quietLog()
  const free = [100, 100, 5000, 5000, 100]
  const guard = diskGuard({
    directory: '/nix/store',
    minFreeBytes: 1000,
    log,
    freeBytes: async () => free.shift() ?? 0,
  })
  expect(await guard()).toMatch(
    /^\/nix\/store has 0 MiB free, less than .* builder\.min_free_bytes; run nix-collect/,
  )
  await guard()
  expect(await guard()).toBeUndefined()
  await guard()
  expect(await guard()).toMatch(/^\/nix\/store has 0 MiB free, less than /)
  expect(log.said.map(({ level }) => level)).toEqual(['warn', 'info', 'warn'])
})

test('a real file system is asked, also before Nix has made its store', async () => {
  for (const directory of [tmpdir(), '/nonexistent/store']) {
    expect(await diskGuard({ directory, minFreeBytes: 1, log: quietLog() })()).toBeUndefined()
    expect(await diskGuard({ directory, minFreeBytes: 2 ** 60, log: quietLog() })()).toMatch(
      / has [1-9][0-9]* MiB free, less than .* builder\.min_free_bytes; run nix-collect/,
    )
  }
})
