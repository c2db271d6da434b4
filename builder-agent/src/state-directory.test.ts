import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { takeStateDirectory } from './state-directory.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cf-state-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function file(path: string): string {
  mkdirSync(join(directory, path, '..'), { recursive: true })
  writeFileSync(join(directory, path), 'x')
  return join(directory, path)
}

test('what a killed life left half done is gone, what it had finished is kept', async () => {
  const half = [
    'uploads/a.nar.zst',
    'downloads/b.export.zst',
    'scopes/c.scope-note',
    'mirrors/m/packed-refs.lock',
    'mirrors/m/refs/heads/main.lock',
    'mirrors/m/objects/pack/tmp_pack_x',
    'home/cache/nix/gitv3/h/index.lock',
  ].map(file)
  const whole = [
    'gc-roots/job_1',
    'mirrors/m/HEAD',
    'mirrors/m/refs/heads/main',
    'home/cache/nix/gitv3/h/HEAD',
    'config.toml',
  ].map(file)
  const state = await takeStateDirectory(directory)
  expect(half.filter(existsSync)).toEqual([])
  expect(whole.filter((path) => !existsSync(path))).toEqual([])
  await state.release()
})

test('it is made for its owner alone, and a first start has nothing to remove', async () => {
  const inner = join(directory, 'new')
  const state = await takeStateDirectory(inner)
  expect(statSync(inner).mode & 0o777).toBe(0o700)
  expect(state.tag).toMatch(/^[0-9a-f]{8}$/)
  await state.release()
})

test('a second builder is refused under any name of the directory, and the tag stays the same', async () => {
  const first = await takeStateDirectory(directory)
  const other = `${directory}-link`
  symlinkSync(directory, other)
  try {
    await expect(takeStateDirectory(other)).rejects.toThrow(
      /another builder runs on .*; stop it|another builder runs on .*: stop it/,
    )
    await first.release()
    const second = await takeStateDirectory(other)
    expect(second.tag).toBe(first.tag)
    await second.release()
  } finally {
    rmSync(other)
  }
})

test('the death of its holder frees it', async () => {
  const holder = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `const { takeStateDirectory } = await import(${JSON.stringify(join(import.meta.dirname, 'state-directory.ts'))});
     await takeStateDirectory(${JSON.stringify(directory)}); console.log('taken'); setInterval(() => {}, 1000)`,
  ])
  await once(holder.stdout, 'data')
  await expect(takeStateDirectory(directory)).rejects.toThrow(/another builder/)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  await (await takeStateDirectory(directory)).release()
})
