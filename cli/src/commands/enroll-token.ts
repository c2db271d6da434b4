import { defineCommand } from 'citty'
import { apiOf, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { writeNewSecret } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import { filterArguments, listQuery, PAGE_ARGUMENTS, printPage } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'
import { durationOf } from './token.ts'

/** `cf enroll-token create|list|revoke`. A token goes to a file and never to the terminal. */
export function enrollTokenCommand(console: Console): Command {
  const create = defineCommand({
    meta: { name: 'create', description: 'Make a token with which one host enrols once' },
    args: {
      host: {
        type: 'string',
        required: true,
        valueHint: 'GLOB',
        description: 'Host name, or a pattern such as web-*',
      },
      out: {
        type: 'string',
        required: true,
        valueHint: 'FILE',
        description: 'A new file (mode 0600) for the token',
      },
      environment: { type: 'string', description: 'Environment of the host' },
      flake: { type: 'string', description: 'Flake that the host follows' },
      expires: { type: 'string', valueHint: 'DURATION', default: '1h', description: 'At most 24h' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const { environment, flake } = args
      const body = {
        hostname: args.host,
        expires_in_s: durationOf(args.expires),
        ...(environment === undefined ? {} : { environment }),
        ...(flake === undefined ? {} : { flake }),
      }
      const made = await writeNewSecret(args.out, async () => {
        const { token, ...answer } = await api.call('POST', '/v1/enroll-tokens', { body })
        return { secret: wholeValue(token), answer }
      })
      if (args.json === true) console.out(JSON.stringify({ ...made, file: args.out }, null, 2))
      else
        console.out(
          `${args.out}: enrols ${wholeValue(made['hostname'])} once, until ${wholeValue(made['expires_at'])}`,
        )
      return EXIT.ok
    },
  })
  return defineCommand({
    meta: { name: 'enroll-token', description: 'One-time tokens for new hosts' },
    subCommands: { create, list: listTokens(console), revoke: revokeToken(console) },
  })
}

function listTokens(console: Console): Command {
  return defineCommand({
    meta: { name: 'list', description: 'One-time tokens that were made, newest first' },
    args: { ...filterArguments(FILTERS), ...PAGE_ARGUMENTS, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const page = await readList(api, '/v1/enroll-tokens', listQuery(args, FILTERS), args['all'] === true)
      if (args['json'] === true) console.out(JSON.stringify(page, null, 2))
      else printPage(console, { columns: COLUMNS }, page)
      return EXIT.ok
    },
  })
}

function revokeToken(console: Console): Command {
  return defineCommand({
    meta: { name: 'revoke', description: 'Take back a token that nobody has used yet' },
    args: {
      token: {
        type: 'positional',
        required: true,
        description: 'Id of a token, as cf enroll-token list shows it',
      },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      // The word may be the token itself, which must not get into an access log.
      if (!/^enr_[A-Za-z0-9]{1,64}$/.test(args.token))
        throw new CommandError(
          EXIT.usage,
          'that is not the id of a token: cf enroll-token list shows ids, which begin with enr_',
        )
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('POST', `/v1/enroll-tokens/${args.token}/revoke`)
      console.out(
        args.json === true
          ? JSON.stringify(answer, null, 2)
          : `${wholeValue(answer['id'])} (for ${wholeValue(answer['hostname'])}) is revoked`,
      )
      return EXIT.ok
    },
  })
}

const FILTERS = { state: 'open, used, expired or revoked', q: 'Part of the host name or pattern' }

const COLUMNS = [
  ['TOKEN', 'id'],
  ['ENROLS', 'hostname'],
  ['STATE', 'state'],
  ['ENVIRONMENT', 'environment'],
  ['FLAKE', 'flake'],
  ['MADE BY', 'created_by'],
  ['UNTIL', 'expires_at'],
  ['USED BY', 'used_by'],
] as const
