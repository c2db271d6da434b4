import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import { livePostmaster, stopPostmaster } from './postmaster.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-main-'))
chmodSync(root, 0o755)
// Servers start in a second, and in ten on a machine that does much else.
vi.setConfig({ testTimeout: 90_000 })
const programs: ChildProcess[] = []
afterEach(async () => {
  for (const program of programs.splice(0)) {
    if (program.exitCode === null && program.signalCode === null) {
      const gone = new Promise((resolve) => program.once('exit', resolve))
      program.kill('SIGKILL')
      await gone
    }
  }
})
afterAll(async () => {
  for (const name of ['killed', 'drain', 'taken', 'early']) {
    const left = await livePostmaster(join(root, name, 'postgres', 'cluster'))
    if (left) await stopPostmaster(left)
  }
  rmSync(root, { recursive: true, force: true })
})

test('help, version and the check of a configuration start nothing', async () => {
  const help = await run(['--help'])
  expect(help.code).toBe(0)
  for (const word of ['--data-dir', '--check-config', 'DATABASE_URL', 'CRYSTAL_FORGE_CONFIG', 'Exit codes'])
    expect(help.out).toContain(word)
  expect(await run(['--version'])).toMatchObject({ code: 0, out: 'crystal-forge server 0.3.0\n' })
  expect(await run(['--check-config', '--data-dir', join(root, 'none')])).toMatchObject({
    code: 0,
    out: 'the configuration is valid\n',
  })
})

test('what is wrong with command line or configuration is said on standard error, and the code is 2', async () => {
  const file = join(root, 'wrong.toml')
  writeFileSync(file, '[server]\nport = "x"\nlease_s = 1\n')
  const wrong = await run(['--check-config'], { CRYSTAL_FORGE_CONFIG: file })
  expect(wrong).toMatchObject({ code: 2, out: '' })
  expect(wrong.err.trim().split('\n')).toHaveLength(2)
  const missing = await run(['--check-config'], { CRYSTAL_FORGE_CONFIG: join(root, 'absent.toml') })
  expect(missing).toMatchObject({ code: 2 })
  expect(missing.err).toContain('absent.toml cannot be read (ENOENT)')
  expect(await run(['--port', '99999'])).toMatchObject({ code: 2 })
  expect((await run(['--prot', '1'])).err).toMatch(/--prot[\s\S]*Try --help/)
})

test('a second server on one directory says so in one line', async () => {
  const first = await start('drain')
  const second = await run(['--data-dir', join(root, 'drain')])
  expect(second.code).toBe(1)
  expect(second.err).toMatch(/^crystal-forge: another server \(http:[^)]*\) runs on .*\n$/)
  expect((await fetch(`${first.url}/status`)).status).toBe(200)
  first.program.kill('SIGINT')
  expect(await first.exit).toBe(0)
})

test('SIGTERM lets the request under way be answered, then everything ends with code 0', async () => {
  const server = await start('drain')
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  socket.write(
    'POST /v1/hooks/none HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nab',
  )
  await expect.poll(() => answer, { timeout: 60_000 }).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  server.program.kill('SIGTERM')
  await expect.poll(() => server.out().includes('"stopping"'), { timeout: 60_000 }).toBe(true)
  socket.write('cd')
  await new Promise((resolve) => socket.once('close', resolve))
  expect(answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 4\d\d /)
  expect(await server.exit).toBe(0)
  expect(await livePostmaster(join(root, 'drain', 'postgres', 'cluster'))).toBeUndefined()
})

test('a server that was killed starts again with its address, token, objects and rows', async () => {
  const first = await start('killed')
  const object = `${first.facts()['awsEndpoint']}/crystal-forge-cache/kept`
  expect((await fetch(object, { method: 'PUT', body: 'object' })).status).toBe(200)
  expect((await makeToken(first.facts(), 'kept')).status).toBe(201)
  first.program.kill('SIGKILL')
  await first.exit

  const second = await start('killed')
  const same = ({ pid: _, ...facts }: Record<string, unknown>): Record<string, unknown> => facts
  expect(same(second.facts())).toEqual(same(first.facts()))
  expect(await (await fetch(object)).text()).toBe('object')
  const names = await (await asAdmin(second.facts(), '/v1/tokens')).text()
  expect(names).toContain('"name":"kept"')
  second.program.kill('SIGTERM')
  expect(await second.exit).toBe(0)
})

test('a start that fails says why in one line and ends at once with code 1', async () => {
  const holder = connectable()
  const port = await holder.port
  const failed = await run(['--data-dir', join(root, 'taken'), '--port', String(port)])
  await holder.close()
  expect(failed.code).toBe(1)
  expect(failed.err).toBe(`crystal-forge: listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`)
  expect(await livePostmaster(join(root, 'taken', 'postgres', 'cluster'))).toBeUndefined()
})

test('a stop that is asked for during the start is obeyed when it is up', async () => {
  const program = launch(['--data-dir', join(root, 'early')])
  await expect.poll(() => program.out().includes('schema migrated'), { timeout: 60_000 }).toBe(true)
  program.program.kill('SIGTERM')
  expect(await program.exit).toBe(0)
  expect(await livePostmaster(join(root, 'early', 'postgres', 'cluster'))).toBeUndefined()
})

type Program = {
  readonly program: ChildProcess
  readonly exit: Promise<number | null>
  out(): string
  err(): string
}
type Facts = Record<string, unknown>

function launch(argv: readonly string[], environment: Record<string, string> = {}): Program {
  const program = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/bin:/bin', HOME: root, CF_EPHEMERAL: '1', ...environment },
  })
  programs.push(program)
  let out = ''
  let err = ''
  program.stdout.on('data', (chunk) => {
    out += chunk
  })
  program.stderr.on('data', (chunk) => {
    err += chunk
  })
  const exit = new Promise<number | null>((resolve) => program.once('close', resolve))
  return { program, exit, out: () => out, err: () => err }
}

async function run(
  argv: readonly string[],
  environment: Record<string, string> = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const program = launch(argv, environment)
  const code = await program.exit
  return { code, out: program.out(), err: program.err() }
}

async function start(name: string): Promise<Program & { readonly url: string; facts(): Facts }> {
  const program = launch(['--data-dir', join(root, name)])
  await expect
    .poll(() => program.out().includes('"ready"') || program.program.exitCode !== null, { timeout: 60_000 })
    .toBe(true)
  if (!program.out().includes('"ready"')) throw new Error(program.err())
  const facts: Facts = JSON.parse(readFileSync(join(root, name, 'server.json'), 'utf8'))
  return { ...program, url: String(facts['url']), facts: () => facts }
}

function asAdmin(facts: Facts, path: string, init: RequestInit = {}): Promise<Response> {
  const token = readFileSync(String(facts['adminTokenFile']), 'utf8').trim()
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  return fetch(`${facts['url']}${path}`, { ...init, headers })
}

function makeToken(facts: Facts, name: string): Promise<Response> {
  return asAdmin(facts, '/v1/tokens', { method: 'POST', body: JSON.stringify({ name, role: 'viewer' }) })
}

function connectable(): { readonly port: Promise<number>; close(): Promise<void> } {
  const server = createServer()
  return {
    port: new Promise((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address()
        resolve(address !== null && typeof address === 'object' ? address.port : 0)
      })
    }),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
