import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

const canInstall = process.getuid?.() === 0 && existsSync('/etc/debian_version')
const SKIPPED = ' — skipped: needs root on Debian'

let checkout: string
let tools: string

beforeEach(async () => {
  checkout = await mkdtemp(path.join(tmpdir(), 'crystal-forge-set-up-'))
  tools = path.join(checkout, 'tools')
  for (const directory of ['tools', 'scripts', 'test/demo'])
    await mkdir(path.join(checkout, directory), { recursive: true })
  for (const script of ['run.mjs', 'setup.mjs']) {
    await cp(path.join(root, 'scripts', script), path.join(checkout, 'scripts', script))
  }
  await writeLock({ version: '1.0.0' })
  await writeTool('npm', NPM)
  await writeFile(path.join(checkout, 'target.mjs'), TARGET)
  // Of the targets that need Nix, the name decides; its content is plain JavaScript.
  await writeFile(path.join(checkout, 'test/demo/main.ts'), "console.log('demo ran')\n")
})

afterEach(async () => {
  await rm(checkout, { recursive: true, force: true })
})

describe('the first run of a script', () => {
  it('installs the packages, says so on stderr, and hands over arguments, output and exit code', async () => {
    const run = await finish(start('target.mjs', 'a b', '--exit=7'))
    expect(run).toMatchObject({ code: 7, stdout: '["a b","--exit=7"]\n' })
    expect(run.stderr).toContain('npm ci')
    expect(await npmCalls()).toEqual(['ci --no-audit --no-fund --loglevel=error'])
  })

  it('says what npm could not do, and leaves no stamp that would hide it', async () => {
    await writeTool('npm', 'process.exitCode = 3')
    expect(await finish(start('target.mjs'))).toMatchObject({ code: 1, stdout: '' })
    await writeTool('npm', NPM)
    expect(await finish(start('target.mjs'))).toMatchObject({ code: 0 })
  })

  it('happens once when two scripts start at the same time', async () => {
    const runs = await Promise.all([finish(start('target.mjs')), finish(start('target.mjs', '--exit=2'))])
    expect(runs.map(({ code }) => code)).toEqual([0, 2])
    expect(await npmCalls()).toHaveLength(1)
  })

  it('takes over the lock of a set-up that was killed', async () => {
    const dead = start('target.mjs')
    const exited = once(dead, 'exit')
    dead.kill('SIGKILL')
    await exited
    await mkdir(path.join(checkout, '.cache/setup.lock'), { recursive: true })
    await writeFile(path.join(checkout, '.cache/setup.lock/pid'), String(dead.pid))
    expect(await finish(start('target.mjs'))).toMatchObject({ code: 0 })
  })
})

describe('a later run', () => {
  it('installs nothing and is silent', async () => {
    await finish(start('target.mjs'))
    expect(await finish(start('target.mjs'))).toEqual({ code: 0, stdout: '[]\n', stderr: '' })
    expect(await npmCalls()).toHaveLength(1)
  })

  it('installs again when the lock file changed', async () => {
    await finish(start('target.mjs'))
    await writeLock({ version: '2.0.0' })
    expect(await finish(start('target.mjs'))).toMatchObject({ code: 0 })
    expect(await npmCalls()).toHaveLength(2)
  })

  it('keeps a tree that npm itself already brought to the new lock file', async () => {
    await finish(start('target.mjs'))
    const lock = await writeLock({ version: '2.0.0' })
    await writeFile(path.join(checkout, 'node_modules/.package-lock.json'), lock)
    expect(await finish(start('target.mjs'))).toMatchObject({ code: 0, stderr: '' })
    expect(await npmCalls()).toHaveLength(1)
  })
})

describe('a script that needs Nix and git', () => {
  it('starts when both are there', async () => {
    await writeTool('nix', '')
    await writeTool('git', '')
    expect(await finish(start('test/demo/main.ts'))).toMatchObject({ code: 0, stdout: 'demo ran\n' })
  })

  it('stops with one line that says what to install when it cannot install them', async () => {
    await writeTool('git', '')
    const run = await finish(start('test/demo/main.ts'))
    expect(run).toMatchObject({ code: 1, stdout: '' })
    const about = run.stderr.split('\n').filter((line) => line.includes('nix'))
    expect(about).toHaveLength(1)
    expect(about[0]).toMatch(/nix not found on PATH; install with "sudo apt-get install nix-bin"/)
  })

  it.skipIf(!canInstall)(
    `installs what is missing with apt-get, after an update when the lists are old${canInstall ? '' : SKIPPED}`,
    async () => {
      await writeTool('git', '')
      await writeTool('apt-get', APT.replaceAll('CALLS', path.join(checkout, 'apt-calls')))
      const run = await finish(start('test/demo/main.ts'))
      expect(run).toMatchObject({ code: 0, stdout: 'demo ran\n' })
      const calls = (await readFile(path.join(checkout, 'apt-calls'), 'utf8')).trimEnd().split('\n')
      expect(calls.map((call) => call.replace(/^noninteractive -qq (-o \S+ )?/, ''))).toEqual([
        'install -y --no-install-recommends nix-bin',
        'update',
        'install -y --no-install-recommends nix-bin',
      ])
    },
  )

  it('does not hold up a script that needs neither', async () => {
    expect(await finish(start('target.mjs'))).toMatchObject({ code: 0 })
  })
})

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s reaches the target, whose exit code counts', async (signal) => {
    const child = start('target.mjs', '--wait')
    const ended = finish(child)
    if (child.stdout !== null) await once(child.stdout, 'data')
    child.kill(signal)
    expect(await ended).toMatchObject({ code: 5, stdout: `ready\n${signal}\n` })
  })
})

type Finished = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

function start(...argv: readonly string[]): ChildProcess {
  return spawn(process.execPath, ['scripts/run.mjs', ...argv], {
    cwd: checkout,
    env: { PATH: tools },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function finish(child: ChildProcess): Promise<Finished> {
  if (child.stdout === null || child.stderr === null) throw new Error('the child has no pipes')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { code: child.exitCode, stdout, stderr }
}

async function npmCalls(): Promise<string[]> {
  const calls = await readFile(path.join(checkout, 'npm-calls'), 'utf8')
  return calls.trimEnd().split('\n')
}

async function writeLock({ version }: { version: string }): Promise<string> {
  const lock = JSON.stringify({
    packages: { '': {}, 'node_modules/node': { version, integrity: `sha512-${version}` } },
  })
  await writeFile(path.join(checkout, 'package-lock.json'), lock)
  return lock
}

/** A program on the only PATH directory; the Node of this test runs it, since PATH holds nothing else. */
async function writeTool(name: string, code: string): Promise<void> {
  const file = path.join(tools, name)
  await writeFile(file, `#!${process.execPath}\n${code}\n`)
  await chmod(file, 0o755)
}

/** What `npm ci` does to a checkout: everything goes away, some time passes, the tree and its record are there. */
const NPM = `
const fs = require('node:fs')
fs.appendFileSync('npm-calls', process.argv.slice(2).join(' ') + '\\n')
fs.rmSync('node_modules', { recursive: true, force: true })
setTimeout(() => {
  fs.mkdirSync('node_modules/node/bin', { recursive: true })
  fs.symlinkSync(${JSON.stringify(process.execPath)}, 'node_modules/node/bin/node')
  fs.copyFileSync('package-lock.json', 'node_modules/.package-lock.json')
}, 200)
`

/** Refuses to install before an update, as it does on a machine whose package lists are empty. */
const APT = `
const fs = require('node:fs')
const argv = process.argv.slice(2)
const before = fs.existsSync('CALLS') ? fs.readFileSync('CALLS', 'utf8') : ''
fs.appendFileSync('CALLS', process.env.DEBIAN_FRONTEND + ' ' + argv.join(' ') + '\\n')
if (argv.includes('install')) {
  if (!before.includes(' update')) process.exit(100)
  fs.writeFileSync(require('node:path').join(process.env.PATH, 'nix'), '', { mode: 0o755 })
}
`

const TARGET = `
const code = process.argv.find((argument) => argument.startsWith('--exit='))
if (code !== undefined) process.exitCode = Number(code.slice(7))
if (process.argv.includes('--wait')) {
  const timer = setInterval(() => {}, 1000)
  const stop = (signal) => { console.log(signal); process.exitCode = 5; clearInterval(timer) }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  console.log('ready')
} else console.log(JSON.stringify(process.argv.slice(2)))
`
