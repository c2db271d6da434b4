import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterAll, expect, test, vi } from 'vitest'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { livePostmaster } from './postmaster.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-embedded-'))
chmodSync(root, 0o755)
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('a new directory gets a Postgres 18 that answers, and stop ends it cleanly', async () => {
  const postgres = await start('new')
  expect(await value(postgres, 'show server_version')).toMatch(/^18\./)
  expect(await value(postgres, 'show server_encoding')).toBe('UTF8')
  await postgres.stop()
  expect(isAlive(postgres.pid)).toBe(false)
  await postgres.stop()
})

test('a second start finds the data of the first', async () => {
  const first = await start('again')
  await value(first, 'create table kept as select 42 as answer')
  await first.stop()
  const second = await start('again')
  expect(await value(second, 'select answer from kept')).toBe(42)
  await second.stop()
})

test('a later start takes the port of the one before, and another one only where somebody took it', async () => {
  const first = await start('port')
  await first.stop()
  const second = await start('port')
  expect(second.port).toBe(first.port)
  await second.stop()
  const taker = createServer().listen(first.port, '127.0.0.1')
  await once(taker, 'listening')
  const third = await start('port')
  expect(third.port).not.toBe(first.port)
  await third.stop()
  taker.close()
})

test('data survives a postmaster that was killed', async () => {
  const before = await start('killed', { ephemeral: false })
  await value(before, 'create table kept as select generate_series(1, 1000) as n')
  process.kill(before.pid, 'SIGKILL')
  // The signal is on its way; until it arrives the old one would be joined.
  await vi.waitFor(() => expect(isAlive(before.pid)).toBe(false), { timeout: 10_000 })
  const after = await start('killed', { ephemeral: false })
  expect(after.pid).not.toBe(before.pid)
  expect(await value(after, 'select sum(n)::int from kept')).toBe(500_500)
  await after.stop()
  await before.stop()
  expect(isAlive(after.pid)).toBe(false)
})

test('several starts at once share one server, which the last user stops', async () => {
  const three = await Promise.all([start('shared'), start('shared'), start('shared')])
  expect(new Set(three.map(({ pid }) => pid)).size).toBe(1)
  const [first, second, third] = three
  await first?.stop()
  await second?.stop()
  expect(third && (await value(third, 'select 1'))).toBe(1)
  await third?.stop()
  expect(isAlive(third?.pid ?? 0)).toBe(false)
})

test('a server whose program was killed is taken over and stopped by the next program', async () => {
  const orphan = await startInAnotherProgram('orphan')
  process.kill(orphan.program, 'SIGKILL')
  await expect.poll(() => isAlive(orphan.program), { timeout: 10_000 }).toBe(false)
  const heir = await start('orphan')
  expect(heir.pid).toBe(orphan.pid)
  expect(await value(heir, 'select 1')).toBe(1)
  await heir.stop()
  expect(isAlive(orphan.pid)).toBe(false)
})

test('an initdb that was interrupted leaves nothing that is taken for data', async () => {
  const half = join(root, 'half', 'cluster.new-interrupted')
  mkdirSync(half, { recursive: true })
  writeFileSync(join(half, 'PG_VERSION'), '18\n')
  const postgres = await start('half')
  expect(await value(postgres, 'select 1')).toBe(1)
  expect(existsSync(half)).toBe(false)
  await postgres.stop()
})

test('a cluster of another major version is refused with a remedy', async () => {
  mkdirSync(join(root, 'old', 'cluster'), { recursive: true })
  writeFileSync(join(root, 'old', 'cluster', 'PG_VERSION'), '16\n')
  await expect(start('old')).rejects.toThrow(/made by Postgres 16.*dump it/)
})

test('a pid file whose process is another program is not believed', async () => {
  const cluster = join(root, 'liar')
  mkdirSync(cluster)
  const lines = [process.pid, cluster, 1, 5432, '', '127.0.0.1', '0 0', 'ready   ', '']
  writeFileSync(join(cluster, 'postmaster.pid'), lines.join('\n'))
  expect(await livePostmaster(cluster)).toBeUndefined()
  expect(existsSync(join(cluster, 'postmaster.pid'))).toBe(false)
})

test.runIf(process.getuid?.() === 0)('root may keep data where only root can go', async () => {
  const closed = mkdtempSync(join(root, 'closed-'))
  const postgres = await startEmbeddedPostgres({
    dataDir: join(closed, 'data'),
    access: 'trust',
    systemDir: join(root, 'system'),
    ephemeral: true,
  })
  expect(postgres.cluster.startsWith(join(root, 'system'))).toBe(true)
  expect(await value(postgres, 'select 1')).toBe(1)
  await postgres.stop()
})

test.runIf(process.getuid?.() === 0)('an ordinary user runs it too', async () => {
  const home = mkdtempSync(join(root, 'user-'))
  chmodSync(home, 0o777)
  const started = await startInAnotherProgram(join(home, 'data'), 65_534)
  expect(readFileSync(`/proc/${started.pid}/status`, 'utf8')).toMatch(/^Uid:\s+65534/m)
  process.kill(started.program, 'SIGTERM')
  await expect.poll(() => isAlive(started.pid), { timeout: 10_000 }).toBe(false)
})

function start(name: string, more: { ephemeral?: boolean } = {}): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ dataDir: join(root, name), access: 'trust', ephemeral: true, ...more })
}

async function value(postgres: EmbeddedPostgres, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  try {
    const { rows } = await client.query({ text: sql, rowMode: 'array' })
    return rows[0]?.[0]
  } finally {
    await client.end()
  }
}

type Started = { readonly program: number; readonly pid: number }

/** Starts Postgres from a process of its own, which SIGTERM ends in order and SIGKILL does not. */
async function startInAnotherProgram(dataDir: string, uid?: number): Promise<Started> {
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(new URL('./embedded-postgres.ts', import.meta.url).href)})
    const postgres = await startEmbeddedPostgres({ dataDir: process.argv[1], access: 'trust', ephemeral: true })
    process.on('SIGTERM', () => postgres.stop().then(() => process.exit()))
    console.log(postgres.pid)
    setInterval(() => {}, 1000)`
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', script, join(root, dataDir.replace(root, ''))],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: '/',
      ...(uid === undefined ? {} : { uid, gid: uid }),
    },
  )
  for await (const line of createInterface({ input: child.stdout })) {
    return { program: child.pid ?? 0, pid: Number(line) }
  }
  throw new Error('the other program said nothing')
}

function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z')
  } catch {
    return false
  }
}
