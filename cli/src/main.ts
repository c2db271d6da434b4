import { homedir, hostname } from 'node:os'
import process from 'node:process'
import { createInterface } from 'node:readline/promises'
import { setTimeout } from 'node:timers/promises'
import type { Console } from './console.ts'
import { run } from './run.ts'

const own: Console = {
  env: process.env,
  home: homedir(),
  hostname: hostname(),
  now: () => new Date(),
  fetch,
  out: (line) => process.stdout.write(`${line}\n`),
  err: (line) => process.stderr.write(`${line}\n`),
  sleep: (ms) => setTimeout(ms),
  ask: async (question) => {
    if (!process.stdin.isTTY) return null
    const lines = createInterface({ input: process.stdin, output: process.stderr })
    try {
      return await lines.question(question)
    } finally {
      lines.close()
    }
  },
}
// `cf events | head` closes the pipe early, which is no failure.
process.stdout.on('error', () => undefined)

process.exitCode = await run(process.argv.slice(2), own)
