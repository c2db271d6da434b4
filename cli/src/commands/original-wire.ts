import { defineCommand } from 'citty'
import { apiOf, type Row } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf original-wire open|close`: whether agents of 0.2.x are listened to. */
export function originalWireCommand(console: Console): Command {
  const open = defineCommand({
    meta: { name: 'open', description: 'Listen to agents of 0.2.x until a time, at most a year away' },
    args: {
      until: {
        type: 'string',
        required: true,
        valueHint: 'DATE',
        description: 'A date (its beginning in UTC) or an RFC 3339 time',
      },
      ...HOSTS,
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const until = /^\d{4}-\d\d-\d\d$/.test(args.until) ? `${args.until}T00:00:00Z` : args.until
      return await order(console, args, until)
    },
  })
  const close = defineCommand({
    meta: { name: 'close', description: 'Listen to them no more' },
    args: { ...HOSTS, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => await order(console, args, null),
  })
  return defineCommand({
    meta: { name: 'original-wire', description: 'Agents of 0.2.x during a move' },
    subCommands: { open, close },
  })
}

const HOSTS = {
  hosts: { type: 'string', valueHint: 'A,B', description: 'These hosts only; all when absent' },
} as const

async function order(
  console: Console,
  args: {
    readonly hosts?: string | undefined
    readonly json?: boolean | undefined
    readonly server?: string | undefined
    readonly 'token-file'?: string | undefined
  },
  until: string | null,
): Promise<ExitCode> {
  const api = apiOf(console, await findConnection(console, args))
  const named = args.hosts === undefined ? {} : { systems: args.hosts.split(',').map((host) => host.trim()) }
  const answer = await api.call('POST', '/v1/original-wire', { body: { until, ...named } })
  console.out(args.json === true ? JSON.stringify(answer, null, 2) : sentence(answer))
  return EXIT.ok
}

function sentence({ until, systems }: Row): string {
  const hosts = Array.isArray(systems) ? systems.length : 0
  const who =
    hosts === 0 ? 'no host has a key that it concerns' : `${hosts} ${hosts === 1 ? 'host' : 'hosts'}`
  const what = until === null ? 'closed' : `open until ${wholeValue(until)}`
  return `the original's wire is ${what}: ${who}`
}
