import process from 'node:process'
import { parseCLI, type Reporter, startVitest, type TestModule, type TestUserConfig } from 'vitest/node'
import { addModule, addUnhandled, closingLines, emptyTally, isGreen, type Tally } from './tally.ts'

// `npm test -- FILTER...`: Vitest once, with its own report first and a closing line that machines can read.
process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  const { filter, options } = parseCLI(['vitest', 'run', ...argv])
  let tally = emptyTally({ namesFiltered: options.testNamePattern !== undefined })
  const counting: Reporter = {
    onTestRunEnd: (modules: readonly TestModule[], unhandled) => {
      tally = addUnhandled(modules.reduce(addModule, tally), unhandled.length)
    },
  }
  tally = await runOnce(filter, { ...options, watch: false, reporters: ['default', counting] }, () => tally)
  for (const line of closingLines(tally)) process.stdout.write(`${line}\n`)
  return isGreen(tally) ? 0 : 1
}

/** A run that cannot even start (a configuration or a global set-up that throws) counts as one failure. */
async function runOnce(filter: string[], options: TestUserConfig, tally: () => Tally): Promise<Tally> {
  try {
    const vitest = await startVitest(filter, options)
    await vitest.close()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return addUnhandled(tally(), 1)
  }
  return tally()
}
