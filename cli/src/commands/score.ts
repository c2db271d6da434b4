import { defineCommand } from 'citty'
import { apiOf, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { parseDuration } from '../duration.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { printPage } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf score [HOST] --from --to --step`: how a host or the fleet did over time. */
export function scoreCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'score', description: 'Scores over time, of one host or of the fleet' },
    args: {
      host: { type: 'positional', required: false, description: 'One host; the fleet when absent' },
      from: {
        type: 'string',
        valueHint: 'DATE',
        description: 'A date or a time; 30 steps before --to when absent',
      },
      to: { type: 'string', valueHint: 'DATE', description: 'A date or a time; now when absent' },
      step: {
        type: 'string',
        valueHint: 'DURATION',
        default: '1d',
        description: 'From point to point, such as 6h',
      },
      release: { type: 'string', valueHint: 'V1R2', description: 'A release of the benchmark' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const { host, release } = args
      const step = parseDuration(args.step)
      if (step === null || step === 0)
        throw new CommandError(
          EXIT.usage,
          `--step is ${JSON.stringify(args.step)}: expected a duration such as 1d or 6h`,
        )
      const api = apiOf(console, await findConnection(console, args))
      // Said outright: every page is about the same points.
      const to = args.to ?? console.now().toISOString()
      const from = args.from ?? new Date(endOf(to, console).getTime() - 30 * step * 1000).toISOString()
      const query = { system: host, from, to, step_s: String(step), release, limit: '200' }
      const page = await readList(api, '/v1/scores', query, true)
      if (args.json === true) console.out(JSON.stringify(page, null, 2))
      else printPage(console, { columns: COLUMNS }, page)
      return EXIT.ok
    },
  })
}

/** As the server reads it: a date means its end in UTC. What is neither is left for it to refuse. */
function endOf(text: string, { now }: Console): Date {
  const time = new Date(/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) ? `${text}T23:59:59.999Z` : text)
  return Number.isNaN(time.getTime()) ? now() : time
}

function percent(value: unknown): string {
  return typeof value === 'number' ? `${(value * 100).toFixed(1)} %` : 'unknown'
}

const COLUMNS = [
  ['AT', 'at'],
  ['HOSTS', 'hosts'],
  ['SCORE', (row) => percent(row['score'])],
  ['COVERAGE', (row) => percent(row['coverage'])],
  ['ACCEPTED', (row) => percent(row['accepted_risk'])],
  ['OPEN CAT I', 'open_cat_i'],
  ['OPENED', 'opened'],
  ['CLOSED', 'closed'],
] as const satisfies readonly (readonly [
  string,
  string | ((row: Readonly<Record<string, unknown>>) => unknown),
])[]
