import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseSeed, publicKeyOfSeed, renderPublicKey } from '@crystal-forge/protocol'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Console } from '../console.ts'
import { run } from '../run.ts'

let directory: string
let out: string[]
let err: string[]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-keygen-'))
  out = []
  err = []
})
afterEach(() => rm(directory, { recursive: true }))

function answering(answer: string | null): Console {
  return {
    env: {},
    home: directory,
    hostname: 'web-1',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    sleep: async () => {},
    ask: async () => answer,
  }
}

test('a pair is written in the original format, the private half for its owner only', async () => {
  const file = join(directory, 'keys/web-1.key')
  expect(await run(['keygen', '-f', file, '-t', 'ed25519', '--yes'], answering(null))).toBe(0)
  const seed = parseSeed(await readFile(file, 'utf8'))
  const publicKey = (await readFile(join(directory, 'keys/web-1.pub'), 'utf8')).trim()
  if (seed === null) throw new Error('no seed was written')
  expect(renderPublicKey(publicKeyOfSeed(seed))).toBe(publicKey)
  expect(out).toEqual([publicKey])
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(JSON.stringify([out, err])).not.toContain((await readFile(file, 'utf8')).trim())
})

test.each(['', 'y', 'YES'])('the answer %j saves', async (answer) => {
  expect(await run(['keygen', '-f', join(directory, 'a.key')], answering(answer))).toBe(0)
})

test('another answer saves nothing, and without anybody to ask --yes is needed', async () => {
  const file = join(directory, 'a.key')
  expect(await run(['keygen', '-f', file], answering('n'))).toBe(1)
  expect(await run(['keygen', '-f', file], answering(null))).toBe(2)
  expect(err.at(-1)).toContain('--yes')
  await expect(stat(file)).rejects.toThrow()
})

test.each(['a.key', 'a.pub'])('%s that exists is never overwritten', async (name) => {
  await writeFile(join(directory, name), 'old')
  expect(await run(['keygen', '-f', join(directory, 'a.key'), '-y'], answering(null))).toBe(1)
  expect(err.at(-1)).toContain('exists and is not overwritten')
  expect(await readFile(join(directory, name), 'utf8')).toBe('old')
  const other = name === 'a.key' ? 'a.pub' : 'a.key'
  await expect(stat(join(directory, other))).rejects.toThrow()
})

test('a private key is not called .pub', async () => {
  expect(await run(['keygen', '-f', join(directory, 'a.pub'), '-y'], answering(null))).toBe(2)
})
