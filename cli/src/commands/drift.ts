import { defineCommand } from 'citty'
import { type Api, apiOf, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { renderDrift } from '../render-drift.ts'
import { filterArguments, listQuery, PAGE_ARGUMENTS, printPage, shortRevision } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf drift` for the fleet, `cf drift HOST` for one host. */
export function driftCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'drift', description: 'How what hosts run differs from what is desired' },
    args: {
      host: {
        type: 'positional',
        required: false,
        description: 'One host, with its paths, commits and packages',
      },
      ...filterArguments(FILTERS),
      'exit-code': { type: 'boolean', description: 'Exit with 10 unless every selected host is up to date' },
      ...PAGE_ARGUMENTS,
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const host = args['host']
      const allUpToDate =
        typeof host === 'string'
          ? await oneHost(console, api, host, args.json === true)
          : await fleet(console, api, args)
      return args['exit-code'] === true && !allUpToDate ? EXIT.drifted : EXIT.ok
    },
  })
}

async function oneHost(console: Console, api: Api, host: string, json: boolean): Promise<boolean> {
  const drift = await api.call('GET', `/v1/systems/${encodeURIComponent(host)}/drift`)
  console.out(json ? JSON.stringify(drift, null, 2) : renderDrift(drift))
  return drift['verdict'] === 'up_to_date'
}

async function fleet(console: Console, api: Api, args: Readonly<Record<string, unknown>>): Promise<boolean> {
  const page = await readList(api, '/v1/drift', listQuery(args, FILTERS), args['all'] === true)
  if (args['json'] === true) console.out(JSON.stringify(page, null, 2))
  else printPage(console, { columns: COLUMNS }, page)
  const verdicts = Object.entries(page['verdicts'] ?? {})
  if (args['json'] !== true && verdicts.length > 0)
    console.out(`\n${verdicts.map(([verdict, hosts]) => `${hosts} ${verdict}`).join(', ')}`)
  return verdicts.every(([verdict]) => verdict === 'up_to_date')
}

const FILTERS = {
  flake: 'Hosts that follow it',
  environment: 'Hosts of it',
  verdict: 'up_to_date, behind, unattributed, ...',
  health: 'healthy, warning, critical, offline, never_seen',
  q: 'Part of the host name',
}

const COLUMNS: Parameters<typeof printPage>[1]['columns'] = [
  ['HOST', 'hostname'],
  ['VERDICT', 'verdict'],
  ['BEHIND', 'commits_behind'],
  ['RUNS', (row) => shortRevision(row['running_rev'])],
  ['DESIRED', (row) => shortRevision(row['desired_rev'])],
  ['HEALTH', 'health'],
  ['SCAN', 'scan_state'],
  ['REBOOT', (row) => (row['reboot_needed'] === true ? 'needed' : '')],
  ['NOTE', (row) => row['evaluation_error'] ?? row['build_error'] ?? row['because']],
]
