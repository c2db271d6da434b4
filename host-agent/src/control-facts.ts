import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { ControlFacts } from '@crystal-forge/protocol'
import { AGENT_VERSION } from './agent-version.ts'
import type { CollectedFacts } from './controls/collect-facts.ts'
import { writeDurably } from './durable-write.ts'

/** Where facts come from, and the chain that their messages form. */
export type ControlFactsSource = {
  /** Looks once, in a process of its own. @throws Error that says why there is nothing. */
  collect(signal: AbortSignal): Promise<CollectedFacts>
  /** The next message. Its place in the chain is taken for good when this resolves: one that gets lost later is missed, not replaced. */
  seal(facts: CollectedFacts): Promise<Uint8Array>
}

type Link = { readonly sequence: number; readonly sha256: string | null }

/** The chain that is remembered in a file. Without the file, or with one that cannot be read, a new chain begins. */
export async function factsChainIn(
  file: string,
  newMessageId: () => string,
): Promise<Pick<ControlFactsSource, 'seal'>> {
  let last = await readLink(file)
  return {
    async seal(facts) {
      const message: ControlFacts = {
        v: 1,
        message_id: newMessageId(),
        ...facts,
        sequence: last.sequence + 1,
        previous_sha256: last.sha256,
        agent_version: AGENT_VERSION,
      }
      const body = new TextEncoder().encode(JSON.stringify(message))
      const sha256 = createHash('sha256').update(body).digest('hex')
      const link = { sequence: message.sequence, sha256 }
      await writeDurably(file, `${JSON.stringify({ v: 1, ...link })}\n`)
      last = link
      return body
    },
  }
}

/**
 * Runs `host-agent observe --controls --json` and takes what it prints: what a look at a whole system needs in memory is given back, and
 * one that hangs is ended.
 * @param command the program and its first arguments, such as Node and the bundle.
 */
export async function collectInChild(
  command: readonly [string, ...string[]],
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<CollectedFacts> {
  const { execFile } = await import('node:child_process')
  const [program, ...first] = command
  const options = {
    env: environment,
    signal,
    timeout: LOOK_MS_MAX,
    maxBuffer: LOOK_BYTES_MAX,
    killSignal: 'SIGKILL',
  } as const
  const printed = await new Promise<string>((resolve, reject) => {
    execFile(program, [...first, 'observe', '--controls', '--json'], options, (error, stdout) => {
      if (error === null) resolve(stdout)
      else reject(new Error('the look at the controls did not end well', { cause: error }))
    })
  })
  return parseCollected(printed)
}

/** What `host-agent observe --controls --json` prints. @throws Error when it is something else, or a part. */
export function parseCollected(printed: string): CollectedFacts {
  let facts: unknown
  try {
    facts = JSON.parse(printed)
  } catch {
    throw new Error('the look at the controls broke off')
  }
  if (!isCollected(facts)) throw new Error('the look at the controls printed something else')
  return facts
}

/** It comes from this very program. */
function isCollected(value: unknown): value is CollectedFacts {
  return typeof value === 'object' && value !== null && 'facts' in value && Array.isArray(value.facts)
}

async function readLink(file: string): Promise<Link> {
  const begin: Link = { sequence: 0, sha256: null }
  try {
    const content: unknown = JSON.parse(await readFile(file, 'utf8'))
    if (typeof content !== 'object' || content === null || !('sequence' in content) || !('sha256' in content))
      return begin
    const { sequence, sha256 } = content
    if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence) || sequence < 1) return begin
    return typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256) ? { sequence, sha256 } : begin
  } catch {
    return begin
  }
}

/** Each program may take ten seconds, each walk twenty; sixty questions that all hang would be no look at a working host. */
export const LOOK_MS_MAX = 300_000
/** A message has at most 1 MiB. */
export const LOOK_BYTES_MAX: number = 2 * 1024 * 1024
