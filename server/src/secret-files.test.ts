import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ensureSecretFiles, writeSecretOnce } from './secret-files.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-secrets-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('the files are for their owner only, whatever the umask allows', async () => {
  const before = process.umask(0)
  try {
    await ensureSecretFiles(join(root, 'modes'), 'cache-1')
  } finally {
    process.umask(before)
  }
  expect(statSync(join(root, 'modes')).mode & 0o777).toBe(0o700)
  const files = readdirSync(join(root, 'modes'))
  expect(files.sort((a, b) => a.localeCompare(b))).toEqual([
    'export-signing.key',
    'job-signing.key',
    'narinfo.key',
    'sealing.key',
  ])
  for (const file of files) expect(statSync(join(root, 'modes', file)).mode & 0o777).toBe(0o600)
})

test('a second start, and two at once, find the same secrets', async () => {
  const directory = join(root, 'twice')
  const [one, two] = await Promise.all([
    ensureSecretFiles(directory, 'cache-1'),
    ensureSecretFiles(directory, 'cache-1'),
  ])
  expect(two).toEqual(one)
  const sealing = readFileSync(one.sealingKeyFile, 'utf8')
  expect(await ensureSecretFiles(directory, 'another-name')).toEqual(one)
  expect(readFileSync(one.sealingKeyFile, 'utf8')).toBe(sealing)
})

test('the public halves have the forms that builders and Nix want', async () => {
  const secrets = await ensureSecretFiles(join(root, 'forms'), 'cache-1')
  expect(secrets.jobPublicKey).toMatch(/^[A-Za-z0-9+/]{43}=$/)
  expect(secrets.exportPublicKey).toMatch(/^[A-Za-z0-9+/]{43}=$/)
  expect(secrets.exportPublicKey).not.toBe(secrets.jobPublicKey)
  expect(secrets.cachePublicKey).toMatch(/^cache-1:[A-Za-z0-9+/]{43}=$/)
})

test.each(['sealing.key', 'job-signing.key', 'narinfo.key', 'export-signing.key'])(
  'a damaged %s is named with the remedy and left as it is',
  async (name) => {
    const directory = join(root, `damaged-${name}`)
    await ensureSecretFiles(directory, 'cache-1')
    writeFileSync(join(directory, name), 'damaged\n')
    await expect(ensureSecretFiles(directory, 'cache-1')).rejects.toThrow(
      new RegExp(`${name} .*restore it from a backup`),
    )
    expect(readFileSync(join(directory, name), 'utf8')).toBe('damaged\n')
  },
)

test('a secret that is there is not overwritten', async () => {
  const path = join(root, 'once')
  expect(await writeSecretOnce(path, 'first')).toBe(true)
  expect(await writeSecretOnce(path, 'second')).toBe(false)
  expect(readFileSync(path, 'utf8')).toBe('first\n')
})
