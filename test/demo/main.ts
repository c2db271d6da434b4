import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Demo, logTail, startDemo } from './demo.ts'
import { tellStory } from './story.ts'

const HELP = `npm run demo -- [options]: from a git push to a verdict, on this machine

  --keep     leave everything running at the end, until Ctrl-C
  --dir DIR  where the demo keeps what it makes (default: a new temporary directory)
  --help

Starts a control plane, a builder and two host agents as separate processes, declares a fleet of six hosts, delivers
two pushes and shows the verdicts. A process that is killed meanwhile is started again, and the verdicts stay the same.
Everything is on loopback. Exit codes: 0 every verdict came, 1 one did not, 2 the command line is wrong.
`

async function main(argv: string[]): Promise<number> {
  const options = readArguments(argv)
  if (typeof options === 'number') return options
  const startedAt = performance.now()
  const directory = options.dir ?? (await mkdtemp(join(tmpdir(), 'crystal-forge-demo-')))
  const say = (text: string): void => void process.stdout.write(`${text}\n`)
  say(`Crystal Forge demo, in ${directory}\n`)
  const reporter = { say, reached: async () => {} }
  const root = fileURLToPath(new URL('../..', import.meta.url))
  let demo: Demo | undefined
  try {
    demo = await startDemo({ directory, reporter, node: process.execPath, root })
    await tellStory(demo, reporter)
    say(`done in ${((performance.now() - startedAt) / 1000).toFixed(0)} s: every verdict came.\n`)
    say(lookAround(demo, options.keep))
    if (options.keep) await interrupted()
    return 0
  } catch (error) {
    process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}\n`)
    for (const name of ['server', 'builder-agent', 'host-agent-web-1'])
      process.stderr.write(
        `\n--- end of ${join(directory, 'logs', `${name}.log`)}\n${await logTail({ directory }, name)}\n`,
      )
    return 1
  } finally {
    await demo?.stop()
  }
}

function readArguments(argv: string[]): { keep: boolean; dir: string | undefined } | number {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        keep: { type: 'boolean', default: false },
        dir: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    })
    if (!values.help) return { keep: values.keep, dir: values.dir }
    process.stdout.write(HELP)
    return 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`)
    return 2
  }
}

function lookAround(demo: Demo, running: boolean): string {
  const { facts } = demo.controlPlane
  const start = running
    ? ''
    : `  npm start -- --data-dir ${join(demo.directory, 'data')}     # first: the control plane again, with this data\n`
  return `Look around:

${start}  export CF_SERVER=${facts.url} CF_TOKEN_FILE=${facts.adminTokenFile}
  npm run -s cf -- drift
  npm run -s cf -- drift web-1
  npm run -s cf -- evaluations --state error
  npm run -s cf -- jobs --json
  curl ${facts.url}/status
  curl ${facts.cacheUrl}/nix-cache-info

Logs of every process: ${join(demo.directory, 'logs')}
`
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exitCode = 1
  },
)
