import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const text = readFileSync(path.join(root, 'process-compose.yaml'), 'utf8')
const commands = new Map(
  [...text.matchAll(/^ {2}(\w+):\n {4}command: (.+)$/gm)].map(([, name = '', command = '']) => [
    name,
    command,
  ]),
)

describe('process-compose.yaml', () => {
  it('has one plain command for each process, which process-compose does not rewrite', () => {
    expect([...commands.keys()]).toEqual(['server', 'keys', 'apply', 'agent', 'builder'])
    expect(text).not.toContain('$')
    for (const [, wanted] of text.matchAll(/^ {6}(\w+): \{ condition: /gm))
      expect([...commands.keys()]).toContain(wanted)
  })
})

describe('the stack of a developer', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'stack-'))
  const started: ChildProcess[] = []
  let env: Record<string, string>
  beforeAll(async () => {
    chmodSync(directory, 0o755)
    const port = await freePort()
    env = {
      PATH: '/usr/bin:/bin',
      HOME: directory,
      CF_EPHEMERAL: '1',
      CF_STACK_DIRECTORY: directory,
      CF_STACK_SERVER: `http://127.0.0.1:${port}`,
    }
    const server = argv('server').map((one) =>
      one === '3445' ? String(port) : one.replace('.cache/stack', directory),
    )
    start(server)
    await vi.waitFor(async () => expect((await fetch(`${env['CF_STACK_SERVER']}/status`)).status).toBe(200), {
      timeout: 90_000,
      interval: 250,
    })
  }, 100_000)
  afterAll(async () => {
    for (const child of started.reverse()) {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      if (child.exitCode === null && child.kill('SIGTERM')) await gone
    }
    rmSync(directory, { recursive: true, force: true })
  }, 60_000)

  it('comes up command by command, and the builder takes jobs', async () => {
    await runs('keys')
    const key = readFileSync(path.join(directory, 'agent.key'), 'utf8')
    await runs('keys')
    expect(readFileSync(path.join(directory, 'agent.key'), 'utf8')).toBe(key)
    expect(await runs('apply')).toContain('builder here')
    expect(await runs('apply')).toContain('nothing to do')
    start(argv('builder'))
    await vi.waitFor(
      async () => {
        const { stdout } = await promisify(execFile)(
          process.execPath,
          ['cli/src/main.ts', 'builders', '--json'],
          {
            cwd: root,
            env: {
              ...env,
              CF_SERVER: env['CF_STACK_SERVER'],
              CF_TOKEN_FILE: path.join(directory, 'server/secrets/admin-token'),
            },
          },
        )
        expect(JSON.parse(stdout).items).toMatchObject([{ name: 'here', last_seen_at: expect.any(String) }])
      },
      { timeout: 60_000, interval: 500 },
    )
  }, 120_000)

  it('has an agent that starts with the key that was declared', async () => {
    const agent = start(argv('agent'))
    let said = ''
    agent.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    await vi.waitFor(() => expect(said).toContain('"message":"started"'), { timeout: 30_000, interval: 100 })
  }, 60_000)

  it('names its steps when it is asked for another', async () => {
    await expect(
      promisify(execFile)(process.execPath, ['scripts/stack.ts', 'nope'], { cwd: root }),
    ).rejects.toThrow('one of keys, apply, agent, builder is needed, not "nope"')
  })

  function argv(name: string): string[] {
    return (commands.get(name) ?? '').split(' ')
  }

  function start([program = '', ...args]: readonly string[]): ChildProcess {
    expect(program).toBe('node')
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr?.resume()
    started.push(child)
    return child
  }

  async function runs(name: string): Promise<string> {
    const [, ...args] = argv(name)
    return (await promisify(execFile)(process.execPath, args, { cwd: root, env })).stdout
  }
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0))
    })
  })
}
