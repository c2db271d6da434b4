import { type ArgsDef, defineCommand, type SubCommandsDef } from 'citty'
import { apiOf, type Query, type Row, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { actorOf, detailOf } from '../event-text.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { renderTable } from '../table.ts'
import { CONNECTION_ARGUMENTS } from './shared-arguments.ts'

/** `cf systems`, `cf jobs` and the other lists: a table each, with the filters of the API. */
export function listCommands(console: Console): SubCommandsDef {
  return Object.fromEntries(LISTS.map((list) => [list.name, listCommand(console, list)]))
}

export type ListDefinition = {
  readonly name: string
  readonly description: string
  /** Heading and member of the item, or what to make of the item. */
  readonly columns: readonly (readonly [string, string | ((row: Row) => unknown)])[]
  /** Filters with what they mean; the API has the same names with `_` for `-`. */
  readonly filters: Readonly<Record<string, string>>
}

function listCommand(console: Console, list: ListDefinition): SubCommandsDef[string] {
  return defineCommand({
    meta: { name: list.name, description: list.description },
    args: { ...filterArguments(list.filters), ...PAGE_ARGUMENTS, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const page = await readList(api, `/v1/${list.name}`, listQuery(args, list.filters), args.all === true)
      if (args.json === true) console.out(JSON.stringify(page, null, 2))
      else printPage(console, list, page)
      return EXIT.ok
    },
  })
}

export function filterArguments(filters: Readonly<Record<string, string>>): ArgsDef {
  return Object.fromEntries(
    Object.entries(filters).map(([name, description]) => [name, { type: 'string' as const, description }]),
  )
}

export const PAGE_ARGUMENTS = {
  limit: { type: 'string', valueHint: '1-200', description: 'How many to read at once' },
  cursor: { type: 'string', description: 'Go on where a page ended' },
  all: { type: 'boolean', description: 'Read every page' },
} as const

/** Filters and page as parameters of the API; `--all` reads big pages. */
export function listQuery(args: Row, filters: Readonly<Record<string, string>>): Query {
  const query: Record<string, string | undefined> = {}
  for (const name of [...Object.keys(filters), 'limit', 'cursor']) {
    const value = args[name]
    if (value === '') throw new CommandError(EXIT.usage, `--${name} has no value`)
    if (typeof value === 'string') query[name.replaceAll('-', '_')] = value
  }
  if (args['all'] === true) query['limit'] ??= '200'
  return query
}

export function printPage(
  console: Console,
  list: Pick<ListDefinition, 'columns'>,
  page: { readonly items: readonly Row[]; readonly next_cursor: string | null },
): void {
  const rows = page.items.map((item) =>
    list.columns.map(([, member]) => (typeof member === 'string' ? item[member] : member(item))),
  )
  const headings = list.columns.map(([heading]) => heading)
  console.out(page.items.length === 0 ? 'none' : renderTable(headings, rows))
  if (page.next_cursor !== null) console.err(`there are more: --cursor ${page.next_cursor}, or --all`)
}

/** The first digits of a revision, as git shows them. */
export function shortRevision(value: unknown): unknown {
  return typeof value === 'string' ? value.slice(0, 12) : value
}

const LISTS: readonly ListDefinition[] = [
  {
    name: 'systems',
    description: 'Registered hosts',
    columns: [
      ['HOST', 'hostname'],
      ['ENVIRONMENT', 'environment'],
      ['FLAKE', 'flake'],
      ['CONFIGURATION', 'configuration'],
      ['POLICY', 'policy'],
      ['HEALTH', 'health'],
      ['VERDICT', 'verdict'],
      ['SEEN', 'seen_at'],
      ['ASSURANCE', 'assurance'],
    ],
    filters: {
      flake: 'Hosts that follow it',
      environment: 'Hosts of it',
      verdict: 'up_to_date, behind, unattributed, ...',
      health: 'healthy, warning, critical, offline, never_seen',
      active: 'true or false',
      q: 'Part of the host name',
    },
  },
  {
    name: 'flakes',
    description: 'Watched repositories',
    columns: [
      ['FLAKE', 'name'],
      ['REPOSITORY', 'repo_url'],
      ['BRANCH', 'branch'],
      ['HEAD', (row) => shortRevision(row['head_rev'])],
      ['STATE', 'head_state'],
      ['SYSTEMS', 'systems'],
      ['ACTIVE', 'active'],
      ['LAST ERROR', 'last_error'],
    ],
    filters: { active: 'true or false' },
  },
  {
    name: 'hooks',
    description: 'Where forges deliver to',
    columns: [
      ['FLAKE', 'flake'],
      ['PROVIDER', 'provider'],
      ['ADDRESS', 'path'],
      ['ACTIVE', 'active'],
      ['PREVIOUS SECRET', 'has_previous_secret'],
      ['CREATED', 'created_at'],
    ],
    filters: { flake: 'Hooks of it' },
  },
  {
    name: 'environments',
    description: 'Environments and how many hosts each has',
    columns: [
      ['ENVIRONMENT', 'name'],
      ['RISK', 'risk_profile'],
      ['COMPLIANCE', 'compliance_level'],
      ['SYSTEMS', 'systems'],
      ['ACTIVE', 'active'],
      ['DESCRIPTION', 'description'],
    ],
    filters: {},
  },
  {
    name: 'commits',
    description: 'Commits of watched branches, newest first',
    columns: [
      ['FLAKE', 'flake'],
      ['POSITION', 'position'],
      ['REVISION', (row) => shortRevision(row['rev'])],
      ['STATE', 'state'],
      ['COMMITTED', 'committed_at'],
      ['SUBJECT OR ERROR', (row) => row['error'] ?? row['subject']],
    ],
    filters: {
      flake: 'Commits of it',
      state: 'pending, evaluating, evaluated, failed, skipped',
      rev: 'First digits of a revision',
    },
  },
  {
    name: 'evaluations',
    description: 'What commits yield for configurations, newest first',
    columns: [
      ['FLAKE', 'flake'],
      ['REVISION', (row) => shortRevision(row['rev'])],
      ['CONFIGURATION', 'configuration'],
      ['STATE', 'state'],
      ['BUILD', 'build_state'],
      ['PATH OR ERROR', (row) => row['build_error'] ?? row['error'] ?? row['out_path']],
    ],
    filters: {
      flake: 'Evaluations of it',
      commit: 'Revision or id of a commit',
      configuration: 'Name of a configuration',
      state: 'ok or error',
    },
  },
  {
    name: 'jobs',
    description: 'Work of builders, newest first',
    columns: [
      ['JOB', 'id'],
      ['KIND', 'kind'],
      ['ABOUT', 'about'],
      ['STATE', 'state'],
      ['ATTEMPT', 'attempt'],
      ['BUILDER', 'builder'],
      ['CREATED', 'created_at'],
      ['FAILURE', 'failure_message'],
    ],
    filters: {
      kind: 'resolve, evaluate, build, scan',
      state: 'queued, leased, succeeded, failed, cancelled',
      open: 'true: those that wait or run; false: those that are over',
      builder: 'Name of a builder',
    },
  },
  {
    name: 'builders',
    description: 'Machines that take jobs',
    columns: [
      ['BUILDER', 'name'],
      ['ACTIVE', 'active'],
      ['NIX', 'nix_version'],
      ['SYSTEMS', 'systems'],
      ['SCANNER', 'scanner'],
      ['ISOLATION', 'isolation'],
      ['JOBS', (row) => (Array.isArray(row['jobs']) ? row['jobs'].length : 0)],
      ['SEEN', 'last_seen_at'],
    ],
    filters: { active: 'true or false' },
  },
  {
    name: 'findings',
    description: 'Vulnerabilities of what hosts run',
    columns: [
      ['HOST', 'hostname'],
      ['CVE', 'cve'],
      ['SEVERITY', 'severity'],
      ['CVSS', 'cvss3'],
      ['PACKAGE', 'package'],
      ['VERSION', 'version'],
      ['SCANNED', 'scanned_at'],
    ],
    filters: {
      system: 'Name of a host',
      environment: 'Hosts of it',
      flake: 'Hosts that follow it',
      cve: 'For example CVE-2026-12345',
      'min-cvss': 'Least CVSS, 0 to 10',
      package: 'Name of a package',
    },
  },
  {
    name: 'events',
    description: 'Entries of the evidence log, newest first',
    columns: [
      ['EVENT', 'id'],
      ['AT', 'created_at'],
      ['TYPE', 'type'],
      ['BY', (row) => actorOf(row['body'])],
      ['WHAT', (row) => detailOf(row['body'])],
    ],
    filters: { type: 'For example config.changed', since: 'RFC 3339 time' },
  },
]
