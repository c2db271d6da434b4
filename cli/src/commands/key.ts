import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf key revoke KEY`. */
export function keyCommand(console: Console): Command {
  const revoke = defineCommand({
    meta: { name: 'revoke', description: 'Refuse a key from its next request on; it never comes back' },
    args: {
      key: {
        type: 'positional',
        required: true,
        description: 'Id of a key, as cf system show and cf builders --json show it',
      },
      because: { type: 'string', valueHint: 'TEXT', description: 'The reason, for the evidence log' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      // With its prefix always: what follows may begin with a dash, which would be an option.
      const id = /^ed25519:([A-Za-z0-9_-]{43})$/.exec(args.key)?.[1]
      if (id === undefined)
        throw new CommandError(
          EXIT.usage,
          `the key is ${JSON.stringify(args.key)}: expected its id, ed25519: and 43 characters, as cf system show HOST prints it`,
        )
      const api = apiOf(console, await findConnection(console, args))
      const body = args.because === undefined ? {} : { because: args.because }
      const answer = await api.call('POST', `/v1/keys/${id}/revoke`, { body })
      console.out(
        args.json === true
          ? JSON.stringify(answer, null, 2)
          : `${wholeValue(answer['key_id'])} of ${wholeValue(answer['owner'])} ${wholeValue(answer['name'])} is revoked`,
      )
      return EXIT.ok
    },
  })
  return defineCommand({
    meta: { name: 'key', description: 'Keys of hosts and builders' },
    subCommands: { revoke },
  })
}
