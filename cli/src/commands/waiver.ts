import { defineCommand } from 'citty'
import { apiOf, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { parseDuration } from '../duration.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { filterArguments, listQuery, PAGE_ARGUMENTS, printPage } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf waiver list|show|draft|submit|approve|reject|revoke`. */
export function waiverCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'waiver', description: 'Accepted risks: who asked, who approved, until when' },
    subCommands: {
      list: listWaivers(console),
      show: showWaiver(console),
      draft: draftWaiver(console),
      submit: step(console, 'submit', 'Ask for approval', SUBMIT),
      approve: step(console, 'approve', 'Accept the risk; not by who wrote or submitted it', {}),
      reject: step(console, 'reject', 'Refuse what was submitted', {}),
      revoke: step(console, 'revoke', 'End it at once', {}),
    },
  })
}

const SUBMIT = {
  type: { type: 'string', description: 'What the draft of a configuration leaves open' },
  expires: { type: 'string', valueHint: 'DATE', description: 'Last day, at most 365 days ahead' },
} as const

function listWaivers(console: Console): Command {
  return defineCommand({
    meta: { name: 'list', description: 'Waivers as they stand, newest first' },
    args: {
      ...filterArguments(FILTERS),
      'expiring-within': {
        type: 'string',
        valueHint: 'DURATION',
        description: 'Approved ones that end so soon, such as 30d',
      },
      ...PAGE_ARGUMENTS,
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const query = { ...listQuery(args, FILTERS), expiring_within_s: withinOf(args['expiring-within']) }
      const api = apiOf(console, await findConnection(console, args))
      const page = await readList(api, '/v1/waivers', query, args.all === true)
      if (args.json === true) console.out(JSON.stringify(page, null, 2))
      else printPage(console, { columns: COLUMNS }, page)
      return EXIT.ok
    },
  })
}

function showWaiver(console: Console): Command {
  return defineCommand({
    meta: { name: 'show', description: 'One waiver with every step' },
    args: { waiver: NAME, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      console.out(
        JSON.stringify(await api.call('GET', `/v1/waivers/${encodeURIComponent(args.waiver)}`), null, 2),
      )
      return EXIT.ok
    },
  })
}

function draftWaiver(console: Console): Command {
  return defineCommand({
    meta: { name: 'draft', description: 'Write a waiver; it holds once it is submitted and approved' },
    args: {
      waiver: NAME,
      rules: {
        type: 'string',
        required: true,
        valueHint: 'V-...,V-...',
        description: 'Rules that it is about',
      },
      scope: {
        type: 'string',
        required: true,
        description: 'fleet, environment:NAME, hosts:A,B or configuration:FLAKE#NAME',
      },
      type: { type: 'enum', options: TYPES, required: true, description: 'What kind it is of' },
      justification: { type: 'string', required: true, description: 'Why the rule may fail' },
      expires: {
        type: 'string',
        required: true,
        valueHint: 'DATE',
        description: 'Last day, at most 365 days ahead',
      },
      compensating: { type: 'string', description: 'What is done instead' },
      owner: { type: 'string', description: 'Who sees to it' },
      renews: {
        type: 'string',
        valueHint: 'WAIVER',
        description: 'The one whose place it takes once approved',
      },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const { waiver, rules, scope, type, justification, expires, compensating, owner, renews } = args
      const body = {
        name: waiver,
        rules: rules.split(',').map((rule) => rule.trim()),
        scope: scopeOf(scope),
        type,
        justification,
        expires_at: endOf(expires),
        ...(compensating === undefined ? {} : { compensating }),
        ...(owner === undefined ? {} : { owner }),
        ...(renews === undefined ? {} : { renews }),
      }
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('POST', '/v1/waivers', { body })
      console.out(
        args.json === true ? JSON.stringify(answer, null, 2) : `${waiver} is ${wholeValue(answer['state'])}`,
      )
      return EXIT.ok
    },
  })
}

function step(
  console: Console,
  name: string,
  description: string,
  more: typeof SUBMIT | Record<string, never>,
): Command {
  return defineCommand({
    meta: { name, description },
    args: {
      waiver: NAME,
      reason: { type: 'string', description: 'Why, for the record' },
      ...more,
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const given: Readonly<Record<string, unknown>> = args
      const { reason, type, expires } = given
      const body = {
        ...(typeof reason === 'string' ? { reason } : {}),
        ...(typeof type === 'string' ? { type } : {}),
        ...(typeof expires === 'string' ? { expires_at: endOf(expires) } : {}),
      }
      const waiver = String(given['waiver'])
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('POST', `/v1/waivers/${encodeURIComponent(waiver)}/${name}`, { body })
      console.out(
        args.json === true
          ? JSON.stringify(answer, null, 2)
          : `${wholeValue(answer['name'])} is ${wholeValue(answer['state'])}, until ${wholeValue(answer['expires_at'])}`,
      )
      return EXIT.ok
    },
  })
}

function scopeOf(text: string): object {
  if (text === 'fleet') return { kind: 'fleet' }
  const [, kind, rest = ''] = /^(environment|hosts|configuration):(.+)$/.exec(text) ?? []
  if (kind === 'environment') return { kind, environment: rest }
  if (kind === 'hosts') return { kind, hosts: rest.split(',').map((host) => host.trim()) }
  const [, flake, configuration] = /^([^#]+)#(.+)$/.exec(rest) ?? []
  if (kind === 'configuration' && flake !== undefined && configuration !== undefined)
    return { kind, flake, configuration }
  throw new CommandError(
    EXIT.usage,
    `--scope is ${JSON.stringify(text)}: expected fleet, environment:NAME, hosts:A,B or configuration:FLAKE#NAME`,
  )
}

function withinOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const seconds = parseDuration(text)
  if (seconds !== null) return String(seconds)
  throw new CommandError(
    EXIT.usage,
    `--expiring-within is ${JSON.stringify(text)}: expected a duration such as 30d or 12h`,
  )
}

/** A date means its end in UTC. */
function endOf(text: string): string {
  if (!/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text)) return text
  return `${text}T23:59:59Z`
}

const NAME = { type: 'positional', required: true, description: 'Name of the waiver' } as const
const TYPES: string[] = ['risk_accepted', 'compensating_control', 'false_positive', 'vendor_dependency']
const FILTERS = {
  state: 'draft, submitted, approved, rejected, renewed, expired, revoked',
  rule: 'Waivers of this rule',
  'as-of': 'As they stood on a date or at a time',
}
const COLUMNS = [
  ['WAIVER', 'name'],
  ['STATE', 'state'],
  ['TYPE', 'type'],
  ['RULES', 'rules'],
  ['AUTHOR', 'author'],
  ['APPROVER', 'approver'],
  ['UNTIL', 'expires_at'],
] as const
