import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { writeNewSecret } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'
import { durationOf } from './token.ts'

/** `cf enroll-token create --host GLOB --out FILE`: the token goes to a file and never to the terminal. */
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
    subCommands: { create },
  })
}
