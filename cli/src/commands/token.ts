import { defineCommand } from 'citty'
import { apiOf, type Row, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { parseDuration } from '../duration.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { writeNewSecret } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import { listQuery, PAGE_ARGUMENTS, printPage } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf token create|list|revoke`. */
export function tokenCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'token', description: 'Tokens of operators' },
    subCommands: { create: createToken(console), list: listTokens(console), revoke: revokeToken(console) },
  })
}

function createToken(console: Console): Command {
  return defineCommand({
    meta: { name: 'create', description: 'Make a token; it is shown once' },
    args: {
      name: { type: 'string', required: true, description: 'What or whom it is for' },
      subject: {
        type: 'string',
        valueHint: 'PERSON',
        description:
          'Who holds it; yourself when absent. Nobody approves their own waivers, with any of their tokens',
      },
      role: {
        type: 'enum',
        options: ROLES,
        required: true,
        description: 'What it may do',
      },
      expires: {
        type: 'string',
        valueHint: 'DURATION',
        default: '90d',
        description: 'For how long it works',
      },
      out: {
        type: 'string',
        valueHint: 'FILE',
        description: 'Write it to a new file (mode 0600) instead of printing it',
      },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const { name, subject, role } = args
      const body = {
        name,
        role,
        expires_in_s: durationOf(args.expires),
        ...(subject === undefined ? {} : { subject }),
      }
      const create = async (): Promise<{ secret: string; answer: Row }> => {
        const { token, ...answer } = await api.call('POST', '/v1/tokens', { body })
        return { secret: wholeValue(token), answer }
      }
      if (args.out !== undefined) {
        const made = await writeNewSecret(args.out, create)
        console.out(args.json === true ? JSON.stringify({ ...made, file: args.out }, null, 2) : args.out)
        return EXIT.ok
      }
      const { secret, answer } = await create()
      if (args.json === true) console.out(JSON.stringify({ ...answer, token: secret }, null, 2))
      else {
        console.err(
          `${wholeValue(answer['id'])}  ${wholeValue(answer['role'])}, works until ${wholeValue(answer['expires_at'])}`,
        )
        console.out(secret)
      }
      return EXIT.ok
    },
  })
}

function listTokens(console: Console): Command {
  return defineCommand({
    meta: { name: 'list', description: 'Tokens that were made, newest first' },
    args: { ...PAGE_ARGUMENTS, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const page = await readList(api, '/v1/tokens', listQuery(args, {}), args.all === true)
      if (args.json === true) console.out(JSON.stringify(page, null, 2))
      else printPage(console, { columns: COLUMNS }, page)
      return EXIT.ok
    },
  })
}

function revokeToken(console: Console): Command {
  return defineCommand({
    meta: { name: 'revoke', description: 'Refuse a token from its next request on' },
    args: {
      token: { type: 'positional', required: true, description: 'Id of a token, as cf token list shows it' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      // The word that follows `revoke` may be the token itself, which must not get into an access log.
      if (args.token.startsWith('cf_'))
        throw new CommandError(EXIT.usage, 'that is a token and not the id of one: cf token list shows ids')
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('POST', `/v1/tokens/${encodeURIComponent(args.token)}/revoke`)
      console.out(
        args.json === true
          ? JSON.stringify(answer, null, 2)
          : `${wholeValue(answer['id'])} (${wholeValue(answer['name'])}) is revoked`,
      )
      return EXIT.ok
    },
  })
}

/** Whole seconds of `90d` or `3600`. */
export function durationOf(text: string): number {
  const seconds = parseDuration(text)
  if (seconds !== null) return seconds
  throw new CommandError(
    EXIT.usage,
    `--expires is ${JSON.stringify(text)}: expected a duration such as 90d, 12h or 30m`,
  )
}

const COLUMNS = [
  ['TOKEN', 'id'],
  ['NAME', 'name'],
  ['SUBJECT', 'subject'],
  ['ROLE', 'role'],
  ['MADE BY', 'created_by'],
  ['UNTIL', 'expires_at'],
  ['REVOKED', 'revoked_at'],
] as const

const ROLES: string[] = ['viewer', 'operator', 'approver', 'admin']
