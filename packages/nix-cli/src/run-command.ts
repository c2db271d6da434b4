import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { StringDecoder } from 'node:string_decoder'
import { descendantsOf, killMarked, type ProcessMark } from './process-tree.ts'

export type Command = {
  /** A name found through `env.PATH`, or an absolute path. */
  readonly program: string
  readonly args: readonly string[]
  /** The whole environment of the program; nothing of this process is added. */
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly cwd?: string
  readonly signal?: AbortSignal
  /** Fed to the program; without it stdin is /dev/null, so that nothing can wait for a terminal. */
  readonly stdin?: Readable
  /** Receives stdout instead of memory; `stdout` of the outcome is then empty. It is ended, or destroyed on failure. */
  readonly stdout?: Writable
  /** More than this on stdout ends the program: half an answer is none. */
  readonly stdoutBytesMax?: number
  /** The end of stderr is kept up to this size; errors stand last. */
  readonly stderrBytesMax?: number
  readonly onStderrLine?: (line: string) => void
}

/** How a program ended. `stdout` is UTF-8 text, `stderr` its tail. */
export type CommandOutcome =
  | { readonly kind: 'exited'; readonly code: number; readonly stdout: string; readonly stderr: string }
  | { readonly kind: 'signalled'; readonly signal: string; readonly stderr: string }
  | { readonly kind: 'timeout'; readonly afterMs: number; readonly stderr: string }
  | { readonly kind: 'cancelled'; readonly stderr: string }
  | { readonly kind: 'too-much-output'; readonly bytesMax: number; readonly stderr: string }
  | { readonly kind: 'failed-to-start'; readonly message: string; readonly stderr: string }

/**
 * Runs one program to its end. Never throws for what the program does; every way to end is an outcome.
 * The program leads a process group of its own: a timeout, a cancellation or too much output ends the group with SIGTERM and,
 * after a grace of five seconds, with SIGKILL, together with whatever it started elsewhere. The promise resolves when the program is gone.
 */
export async function runCommand(command: Command): Promise<CommandOutcome> {
  if (command.signal?.aborted) return { kind: 'cancelled', stderr: '' }
  const child = spawn(command.program, command.args, {
    env: { ...command.env },
    stdio: [command.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    detached: true,
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
  })
  const stderr = keepTail(child, command)
  const end = terminator(child)
  child.once('exit', end.settle)
  const stdout = collectStdout(child, command, end.because)
  const input = feedStdin(child, command)
  const timer = setTimeout(
    () => end.because({ kind: 'timeout', afterMs: command.timeoutMs }),
    command.timeoutMs,
  )
  const cancel = (): void => end.because({ kind: 'cancelled' })
  command.signal?.addEventListener('abort', cancel, { once: true })
  try {
    const exit = await exited(child)
    const [text, delivery] = await Promise.all([stdout, input])
    if (exit.kind === 'failed-to-start') return { ...exit, stderr: stderr() }
    const reason = end.reason()
    if (reason !== undefined) return { ...reason, stderr: stderr() }
    if (text.kind === 'broken') return { kind: 'failed-to-start', message: text.message, stderr: stderr() }
    if (delivery !== undefined && exit.kind === 'exited' && exit.code === 0) {
      return { kind: 'failed-to-start', message: delivery, stderr: stderr() }
    }
    return exit.kind === 'exited'
      ? { ...exit, stdout: text.text, stderr: stderr() }
      : { ...exit, stderr: stderr() }
  } finally {
    clearTimeout(timer)
    command.signal?.removeEventListener('abort', cancel)
  }
}

/** Turns an outcome into text for a person: which program, how it ended, and the last line it wrote. */
export function describeOutcome(program: string, outcome: CommandOutcome): string {
  const last = outcome.stderr.trimEnd().split('\n').at(-1) ?? ''
  const tail = last === '' ? '' : `: ${last}`
  switch (outcome.kind) {
    case 'exited':
      return `${program} ended with code ${outcome.code}${tail}`
    case 'signalled':
      return `${program} was ended by ${outcome.signal}${tail}`
    case 'timeout':
      return `${program} did not end within ${outcome.afterMs} ms${tail}`
    case 'cancelled':
      return `${program} was cancelled`
    case 'too-much-output':
      return `${program} wrote more than ${outcome.bytesMax} bytes`
    case 'failed-to-start':
      return `${program} could not be run: ${outcome.message}`
  }
}

type Reason =
  | { readonly kind: 'timeout'; readonly afterMs: number }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'too-much-output'; readonly bytesMax: number }

type Terminator = {
  /** Ends the program; the first reason is the one that counts. */
  because(reason: Reason): void
  reason(): Reason | undefined
  /** To be called when the program is gone. */
  settle(): void
}

function terminator(child: ChildProcess): Terminator {
  let reason: Reason | undefined
  let escalation: NodeJS.Timeout | undefined
  // Nix starts builders in sessions of their own, which no signal to its group reaches.
  let started: readonly ProcessMark[] = []
  const remember = (): void => {
    if (child.pid !== undefined) started = [...started, ...descendantsOf(child.pid)]
  }
  return {
    because(next) {
      if (reason !== undefined || child.exitCode !== null || child.signalCode !== null) return
      reason = next
      remember()
      signalGroup(child, 'SIGTERM')
      escalation = setTimeout(() => {
        remember()
        signalGroup(child, 'SIGKILL')
        killMarked(started)
      }, GRACE_MS)
    },
    reason: () => reason,
    settle() {
      clearTimeout(escalation)
      // What the program left behind must not outlive the outcome.
      if (reason === undefined) return
      signalGroup(child, 'SIGKILL')
      killMarked(started)
    },
  }
}

function signalGroup(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

type Exit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  | { readonly kind: 'failed-to-start'; readonly message: string }

function exited(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      if (child.pid === undefined) resolve({ kind: 'failed-to-start', message: error.message })
    })
    // A background process may hold the pipes after the program has gone; they are given a moment and then closed.
    child.once('exit', (code, signal) => {
      const closing = setTimeout(() => {
        child.stdout?.destroy()
        child.stderr?.destroy()
      }, GRACE_MS)
      child.once('close', () => {
        clearTimeout(closing)
        resolve(code === null ? { kind: 'signalled', signal: signal ?? 'unknown' } : { kind: 'exited', code })
      })
    })
  })
}

type Collected =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'broken'; readonly message: string }

async function collectStdout(
  child: ChildProcess,
  command: Command,
  end: (reason: Reason) => void,
): Promise<Collected> {
  const { stdout } = child
  if (stdout === null) return { kind: 'text', text: '' }
  if (command.stdout !== undefined) {
    return pipeline(stdout, command.stdout).then(
      (): Collected => ({ kind: 'text', text: '' }),
      (error: unknown): Collected => ({
        kind: 'broken',
        message: `its output could not be kept: ${String(error)}`,
      }),
    )
  }
  const bytesMax = command.stdoutBytesMax ?? STDOUT_BYTES_MAX
  const chunks: Buffer[] = []
  let bytes = 0
  stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes <= bytesMax) chunks.push(chunk)
    else end({ kind: 'too-much-output', bytesMax })
  })
  await new Promise<void>((resolve) => {
    stdout.once('close', resolve)
  })
  return { kind: 'text', text: Buffer.concat(chunks).toString('utf8') }
}

/** Resolves to what went wrong, if anything. A program that stops reading early is not an error by itself: its exit code tells. */
async function feedStdin(child: ChildProcess, command: Command): Promise<string | undefined> {
  if (command.stdin === undefined || child.stdin === null) return undefined
  try {
    await pipeline(command.stdin, child.stdin)
    return undefined
  } catch (error) {
    return `its input could not be delivered: ${String(error)}`
  }
}

function keepTail(child: ChildProcess, command: Command): () => string {
  const bytesMax = command.stderrBytesMax ?? STDERR_BYTES_MAX
  const decoder = new StringDecoder('utf8')
  let tail = Buffer.alloc(0)
  let line = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    tail = Buffer.concat([tail, chunk]).subarray(-bytesMax)
    if (command.onStderrLine === undefined) return
    const lines = (line + decoder.write(chunk)).split('\n')
    line = (lines.pop() ?? '').slice(-LINE_CHARACTERS_MAX)
    for (const complete of lines) command.onStderrLine(complete.slice(0, LINE_CHARACTERS_MAX))
  })
  child.stderr?.once('close', () => {
    if (line !== '') command.onStderrLine?.(line)
  })
  return () => tail.toString('utf8')
}

/** Long enough for Nix to stop its builders and release its locks. */
const GRACE_MS = 5_000
/** A report of 103 controls with extras is below 1 MiB; a derivation graph of a large system is the biggest answer. */
const STDOUT_BYTES_MAX = 64 * 1024 * 1024
const STDERR_BYTES_MAX = 256 * 1024
/** One line of progress that a person may read. */
const LINE_CHARACTERS_MAX = 4_096
