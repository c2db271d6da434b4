import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { generateKeyPair, renderSeed } from '@crystal-forge/protocol'

/** The program, as its source. */
export const MAIN: string = fileURLToPath(new URL('../src/main.ts', import.meta.url))

export type LogLine = { readonly level: string; readonly message: string; readonly [field: string]: unknown }

/** The agent as a process of its own. */
export type RunningAgent = AsyncDisposable & {
  readonly pid: number
  /** The next log line with this message; lines before it are passed over. */
  logged(message: RegExp): Promise<LogLine>
  readonly lines: readonly LogLine[]
  /** Sends a signal and resolves with how the process ended. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: string | null }>
}

export type Place = {
  readonly root: string
  readonly state: string
  readonly keyFile: string
  readonly serverUrl: string
}

function environmentOf(place: Place): Record<string, string> {
  return {
    CRYSTAL_FORGE__CLIENT__SERVER_URL: place.serverUrl,
    CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: place.keyFile,
    CRYSTAL_FORGE__CLIENT__STATE_DIRECTORY: place.state,
    CRYSTAL_FORGE__CLIENT__ROOT: place.root,
    CRYSTAL_FORGE__CLIENT__CONTROL_FACTS: 'false',
  }
}

export function startAgent(place: Place): RunningAgent {
  const child = spawn(process.execPath, [MAIN, 'run'], {
    env: environmentOf(place),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const lines: LogLine[] = []
  let read = 0
  let wake = () => {}
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line.startsWith('{') ? JSON.parse(line) : { level: 'raw', message: line })
    wake()
  })
  const ended = once(child, 'close').then(([code, signal]) => {
    wake()
    return { code, signal }
  })
  let over = false
  ended.then(
    () => {
      over = true
    },
    () => {},
  )
  return {
    pid: child.pid ?? 0,
    lines,
    async logged(message) {
      for (;;) {
        for (; read < lines.length; ) {
          const line = lines[read++]
          if (line !== undefined && message.test(line.message)) return line
        }
        if (over) throw new Error(`the agent ended without logging ${message}: ${JSON.stringify(lines)}`)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    async end(signal) {
      child.kill(signal)
      return await ended
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Runs one command to its end. */
export async function runCommand(
  place: Partial<Place>,
  argv: readonly string[],
  input = '',
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const whole = {
    root: '/nowhere',
    state: '/nowhere',
    keyFile: '/nowhere/key',
    serverUrl: 'http://127.0.0.1:9',
    ...place,
  }
  const child = spawn(process.execPath, [MAIN, ...argv], { env: environmentOf(whole), stdio: 'pipe' })
  const texts = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => {
    texts.stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    texts.stderr += chunk.toString()
  })
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code, ...texts }
}

/** Writes a fresh key file and gives its public key. */
export async function writeKeyFile(directory: string): Promise<{ keyFile: string; publicKey: Uint8Array }> {
  const { seed, publicKey } = generateKeyPair()
  const keyFile = path.join(directory, 'host.key')
  await writeFile(keyFile, `${renderSeed(seed)}\n`, { mode: 0o600 })
  return { keyFile, publicKey }
}
