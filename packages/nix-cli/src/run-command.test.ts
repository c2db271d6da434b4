import { readFileSync } from 'node:fs'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { type Command, describeOutcome, runCommand } from './run-command.ts'

const sh = (script: string, more: Partial<Command> = {}): Command => ({
  program: '/bin/sh',
  args: ['-c', script],
  env: { PATH: '/usr/bin:/bin' },
  timeoutMs: 20_000,
  ...more,
})

function alive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

describe('runCommand', () => {
  it('returns code, stdout and stderr', async () => {
    expect(await runCommand(sh('echo out; echo err >&2; exit 3'))).toEqual({
      kind: 'exited',
      code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    })
  })

  it('passes only the given environment and nothing on stdin', async () => {
    const outcome = await runCommand(sh('env; cat', { env: { PATH: '/usr/bin:/bin', ONLY: 'this' } }))
    expect(outcome).toMatchObject({ kind: 'exited', code: 0 })
    const names =
      outcome.kind === 'exited'
        ? outcome.stdout
            .trim()
            .split('\n')
            .map((l) => l.split('=')[0])
            .sort()
        : []
    expect(names.filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name ?? ''))).toEqual([
      'ONLY',
      'PATH',
    ])
  })

  it('says when a program cannot be started', async () => {
    const outcome = await runCommand({ ...sh(''), program: '/no/such/program' })
    expect(outcome).toMatchObject({ kind: 'failed-to-start', message: expect.stringContaining('ENOENT') })
    expect(describeOutcome('nix', outcome)).toContain('nix could not be run')
  })

  it('reports a signal that was not ours', async () => {
    expect(await runCommand(sh('kill -KILL $$'))).toMatchObject({ kind: 'signalled', signal: 'SIGKILL' })
  })

  it('ends the whole group on timeout', async () => {
    const outcome = await runCommand(sh('sleep 60 & echo $! >&2; wait', { timeoutMs: 300 }))
    expect(outcome).toMatchObject({ kind: 'timeout', afterMs: 300 })
    await expect.poll(() => alive(Number(outcome.stderr.trim()))).toBe(false)
  })

  it('ends the whole group on cancellation', async () => {
    const abort = new AbortController()
    const outcome = await runCommand(
      sh('sleep 60 & echo $! >&2; wait', { signal: abort.signal, onStderrLine: () => abort.abort() }),
    )
    expect(outcome).toMatchObject({ kind: 'cancelled' })
    await expect.poll(() => alive(Number(outcome.stderr.trim()))).toBe(false)
  })

  it('ends what moved to a session of its own, also when the program itself does not care about it', async () => {
    const outcome = await runCommand(sh('setsid sleep 60 & echo $! >&2; wait', { timeoutMs: 300 }))
    expect(outcome).toMatchObject({ kind: 'timeout' })
    await expect.poll(() => alive(Number(outcome.stderr.trim()))).toBe(false)
  })

  it('does not start when it is cancelled already', async () => {
    expect(await runCommand(sh('exit 1', { signal: AbortSignal.abort() }))).toEqual({
      kind: 'cancelled',
      stderr: '',
    })
  })

  it('refuses more output than allowed and keeps the end of stderr', async () => {
    expect(await runCommand(sh('yes', { stdoutBytesMax: 1_000 }))).toMatchObject({
      kind: 'too-much-output',
      bytesMax: 1_000,
    })
    expect(
      await runCommand(sh('yes | head -c 9000 >&2; echo end >&2', { stderrBytesMax: 10 })),
    ).toMatchObject({
      stderr: 'y\ny\ny\nend\n',
    })
  })

  it('reports lines of stderr as they come, the last one without newline too', async () => {
    const lines: string[] = []
    await runCommand(sh("printf 'a\\nb\\nc' >&2", { onStderrLine: (line) => lines.push(line) }))
    expect(lines).toEqual(['a', 'b', 'c'])
  })

  it('streams stdin and stdout', async () => {
    const output = new PassThrough()
    const [outcome, received] = await Promise.all([
      runCommand(sh('cat', { stdin: Readable.from(['x'.repeat(100_000)]), stdout: output })),
      text(output),
    ])
    expect(outcome).toMatchObject({ kind: 'exited', code: 0, stdout: '' })
    expect(received).toHaveLength(100_000)
  })

  it('never takes a broken input for success', async () => {
    const broken = new Readable({ read: () => broken.destroy(new Error('disk gone')) })
    expect(await runCommand(sh('cat', { stdin: broken }))).toMatchObject({
      kind: 'failed-to-start',
      message: expect.stringContaining('disk gone'),
    })
  })

  it('a program that does not read its input to the end is judged by its code', async () => {
    const outcome = await runCommand(sh('exit 7', { stdin: Readable.from(['x'.repeat(10_000_000)]) }))
    expect(outcome).toMatchObject({ kind: 'exited', code: 7 })
  })
})
