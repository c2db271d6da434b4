import { defineCommand } from 'citty'
import { apiOf, type Row, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { renderTable, wholeValue } from '../table.ts'
import { showCommitControls } from './commit-controls.ts'
import { filterArguments, listQuery, PAGE_ARGUMENTS, printPage } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf controls [HOST]`: results of rules, of one host with its score and what the score must not be shown without. */
export function controlsCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'controls', description: 'Results of the rules of the STIG, and why' },
    args: {
      host: { type: 'positional', required: false, description: 'One host, with its score' },
      commit: { type: 'string', valueHint: 'REVISION', description: 'What a commit opens and closes' },
      configuration: { type: 'string', description: 'With --commit: of this configuration only' },
      ...filterArguments(FILTERS),
      ...PAGE_ARGUMENTS,
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const { commit, configuration } = args
      if (configuration !== undefined && commit === undefined)
        throw new CommandError(EXIT.usage, '--configuration goes with --commit')
      if (commit !== undefined)
        return await showCommitControls(console, api, { commit, configuration, json: args.json === true })
      const query = listQuery(args, FILTERS)
      if (args.host === undefined) {
        const page = await readList(api, '/v1/controls', query, args.all === true)
        if (args.json === true) console.out(JSON.stringify(page, null, 2))
        else printPage(console, { columns: COLUMNS }, page)
        return EXIT.ok
      }
      const { as_of, release } = query
      const answer = await api.call('GET', `/v1/systems/${encodeURIComponent(args.host)}/controls`, {
        query: { as_of, release },
      })
      if (args.json === true) console.out(JSON.stringify(answer, null, 2))
      else show(console, answer, query)
      return EXIT.ok
    },
  })
}

function show(
  console: Console,
  answer: Row,
  { rule, state }: Readonly<Record<string, string | undefined>>,
): void {
  console.out(
    [
      `${wholeValue(answer['hostname'])} as of ${wholeValue(answer['as_of'])}, ${wholeValue(answer['release'])}`,
      `score ${percent(answer['score'])}, coverage by fresh evidence ${percent(answer['coverage'])}, accepted risk ${percent(answer['accepted_risk'])}, open CAT I ${wholeValue(answer['open_cat_i'])}, oldest evidence ${wholeValue(answer['oldest_evidence_at'])}`,
      '',
    ].join('\n'),
  )
  const rows = list(answer['items'])
    .filter(
      (item) =>
        (rule === undefined || item['rule'] === rule) && (state === undefined || item['state'] === state),
    )
    .map((item) => [item['rule'], item['state'], item['reason'], risk(item), item['because']])
  console.out(renderTable(['RULE', 'STATE', 'REASON', 'ACCEPTED', 'BECAUSE'], rows))
  for (const claim of list(answer['waiver_claims']))
    console.err(
      `${wholeValue(claim['rule'])}: the configuration names the waiver ${wholeValue(claim['waiver'])}, but ${wholeValue(claim['problem'])}`,
    )
}

/** When the risk of a finding was accepted, until when. */
function risk(item: Row): unknown {
  const accepted = item['accepted_risk']
  return typeof accepted === 'object' && accepted !== null ? Reflect.get(accepted, 'expires_at') : null
}

function percent(value: unknown): string {
  return typeof value === 'number' ? `${(value * 100).toFixed(1)} %` : 'unknown'
}

function list(value: unknown): readonly Row[] {
  return Array.isArray(value) ? value : []
}

const FILTERS = {
  system: 'Results of this host',
  rule: 'Results of this rule',
  state: 'pass, open, contradiction, not_applicable, not_reviewed',
  'as-of': 'A date or a time in the past',
  release: 'A release of the benchmark, such as V1R2',
}
const COLUMNS = [
  ['HOST', 'hostname'],
  ['RULE', 'rule'],
  ['STATE', 'state'],
  ['REASON', 'reason'],
  ['ACCEPTED', risk],
  ['BECAUSE', 'because'],
] as const
