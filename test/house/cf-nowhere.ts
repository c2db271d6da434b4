import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'

/** Runs `cf` in this process for somebody who has configured nothing: what it says, and its exit code. */
export async function cfNowhere(argv: readonly string[]): Promise<{ code: number; out: string }> {
  const out: string[] = []
  const console: Console = {
    env: {},
    home: '/nowhere',
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => out.push(line),
    sleep: async () => {},
    ask: async () => null,
  }
  return { code: await run(argv, console), out: out.join('\n') }
}
