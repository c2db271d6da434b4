import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { buildAll } from '../../scripts/build.ts'

/** One instance of a function: a process of its own with its own environment, frozen between two events. */
export type Instance = {
  /** @throws {Error} what the handler threw, or that it was ended because its time was over. */
  invoke(event: unknown, options?: { readonly timeoutMs?: number }): Promise<unknown>
  /** What the function wrote so far. */
  log(): string
  stop(): Promise<void>
}

/** The bundles that are deployed, below `dist/` so that they find the SDK which Lambda would bring. */
export async function buildBundles(): Promise<{
  file(functionName: string): string
  remove(): Promise<void>
}> {
  const root = join(import.meta.dirname, '../..')
  await mkdir(join(root, 'dist'), { recursive: true })
  const out = await mkdtemp(join(root, 'dist', 'aws-suite-'))
  await buildAll(root, out, 'function')
  return {
    file: (name) => join(out, 'functions', name, 'index.mjs'),
    remove: () => rm(out, { recursive: true, force: true }),
  }
}

/**
 * Starts an instance of a bundle. As in Lambda the environment is what is given and nothing else, the process stands
 * still between events, and one that takes too long is killed in the middle of what it does.
 * @throws {Error} when the bundle cannot be loaded, such as for a missing variable.
 */
export async function startInstance(
  file: string,
  environment: Readonly<Record<string, string>>,
): Promise<Instance> {
  const child = fork(join(import.meta.dirname, 'runtime/main.ts'), [file], {
    env: environment,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => lines.push(chunk.toString()))
  const first = await nextMessage(child)
  if (first.kind !== 'ready') {
    await end(child)
    throw new Error(first.kind === 'init-failed' ? first.why : `the instance said ${first.kind} first`)
  }
  child.kill('SIGSTOP')
  return {
    invoke: (event, { timeoutMs = 30_000 } = {}) => invoke(child, event, timeoutMs),
    log: () => lines.join(''),
    stop: () => end(child),
  }
}

async function invoke(child: ChildProcess, event: unknown, timeoutMs: number): Promise<unknown> {
  const answered = nextMessage(child)
  child.kill('SIGCONT')
  child.send({ event, requestId: randomUUID(), deadline: Date.now() + timeoutMs })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  try {
    const message = await answered
    if (message.kind === 'answer') return message.answer
    throw new Error(message.kind === 'failed' ? message.why : `the instance said ${message.kind}`)
  } finally {
    clearTimeout(timer)
    child.kill('SIGSTOP')
  }
}

const message = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('init-failed'), why: z.string() }),
  z.object({ kind: z.literal('answer'), answer: z.unknown() }),
  z.object({ kind: z.literal('failed'), why: z.string() }),
  z.object({ kind: z.literal('ended') }),
])

async function nextMessage(child: ChildProcess): Promise<z.infer<typeof message>> {
  const done = new AbortController()
  try {
    return await Promise.race([
      once(child, 'message', { signal: done.signal }).then(([received]) => message.parse(received)),
      once(child, 'exit', { signal: done.signal }).then(() => ({ kind: 'ended' as const })),
    ])
  } finally {
    done.abort()
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
