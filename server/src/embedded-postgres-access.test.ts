import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, expect, test } from 'vitest'
import { type Access, type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { scramVerifier } from './scram-verifier.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-access-'))
chmodSync(root, 0o755)
afterAll(() => rmSync(root, { recursive: true, force: true }))

const NEEDS_PASSWORD = /password authentication failed|must be a string|no password/i

test('a new cluster lets nobody in without the password of the file', async () => {
  const password = passwordFile('new')
  const postgres = await start('new', { passwordFile: password.file })
  await expect(ask(postgres)).rejects.toThrow(NEEDS_PASSWORD)
  await expect(ask(postgres, 'wrong')).rejects.toThrow(NEEDS_PASSWORD)
  expect(await ask(postgres, password.text)).toBe('scram-sha-256')
  expect(postgres.url).not.toContain(password.text)
  await postgres.stop()
})

test('a cluster that trusted everybody keeps its data and asks for the password from the next start on', async () => {
  const before = await start('upgraded', 'trust')
  await ask(before, undefined, 'create table kept as select 42 as answer')
  await before.stop()
  const password = passwordFile('upgraded')
  const after = await start('upgraded', { passwordFile: password.file })
  await expect(ask(after)).rejects.toThrow(NEEDS_PASSWORD)
  expect(await ask(after, password.text, 'select answer from kept')).toBe(42)
  await after.stop()
})

test('a server that still runs and trusts everybody is not joined but secured', async () => {
  const before = await start('running', 'trust')
  const password = passwordFile('running')
  const after = await start('running', { passwordFile: password.file })
  expect(after.pid).not.toBe(before.pid)
  await expect(ask(after)).rejects.toThrow(NEEDS_PASSWORD)
  expect(await ask(after, password.text)).toBe('scram-sha-256')
  await after.stop()
  await before.stop()
})

test('a password file that was lost is replaced, and the new password holds', async () => {
  const lost = passwordFile('lost')
  await (await start('lost', { passwordFile: lost.file })).stop()
  const fresh = passwordFile('lost')
  const postgres = await start('lost', { passwordFile: fresh.file })
  await expect(ask(postgres, lost.text)).rejects.toThrow(NEEDS_PASSWORD)
  expect(await ask(postgres, fresh.text)).toBe('scram-sha-256')
  await postgres.stop()
})

test('rules that somebody opened are closed again', async () => {
  const password = passwordFile('opened')
  const first = await start('opened', { passwordFile: password.file })
  await first.stop()
  writeFileSync(join(first.cluster, 'pg_hba.conf'), 'host all all 0.0.0.0/0 trust\n')
  const second = await start('opened', { passwordFile: password.file })
  await expect(ask(second)).rejects.toThrow(NEEDS_PASSWORD)
  expect(readFileSync(join(second.cluster, 'pg_hba.conf'), 'utf8')).not.toContain('trust')
  await second.stop()
})

test('a verifier takes the place of a password', async () => {
  const password = passwordFile('verifier')
  const postgres = await start('verifier', { passwordFile: password.file })
  await ask(postgres, password.text, `create role other login password '${scramVerifier('a-password')}'`)
  expect(await ask(postgres, 'a-password', 'select current_user', 'other')).toBe('other')
  await expect(ask(postgres, 'b-password', 'select 1', 'other')).rejects.toThrow(NEEDS_PASSWORD)
  await postgres.stop()
})

test('a server that was killed is revived on the port it had', async () => {
  const password = passwordFile('revived')
  const postgres = await start('revived', { passwordFile: password.file })
  const { pid, port } = postgres
  expect(await postgres.isRunning()).toBe(true)
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => postgres.isRunning()).toBe(false)
  expect(await postgres.revive()).not.toBe(pid)
  expect(postgres.port).toBe(port)
  expect(await ask(postgres, password.text)).toBe('scram-sha-256')
  await postgres.stop()
  await expect(postgres.revive()).rejects.toThrow(/stopped on purpose/)
})

let passwords = 0

function passwordFile(name: string): { file: string; text: string } {
  const file = join(root, `${name}.password`)
  const text = `Password-of-${name}-${passwords++}`
  writeFileSync(file, `${text}\n`, { mode: 0o600 })
  return { file, text }
}

function start(name: string, access: Access): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ dataDir: join(root, name), access, ephemeral: true })
}

async function ask(
  postgres: EmbeddedPostgres,
  password?: string,
  sql = 'select auth_method from pg_hba_file_rules',
  user = 'postgres',
): Promise<unknown> {
  const { host, port } = postgres
  const client = new pg.Client({
    host,
    port,
    user,
    database: 'postgres',
    ...(password === undefined ? {} : { password }),
  })
  await client.connect()
  try {
    const { rows } = await client.query({ text: sql, rowMode: 'array' })
    return rows[0]?.[0]
  } finally {
    await client.end()
  }
}
