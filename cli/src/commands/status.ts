import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf status`: whether the control plane is healthy; with a token also what it counts. */
export function statusCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'status', description: 'Whether the control plane is healthy' },
    args: CONNECTION_ARGUMENTS,
    run: async ({ args }): Promise<ExitCode> => {
      const connection = await findConnection(console, args, { tokenOptional: true })
      const { status, body } = await apiOf(console, connection).ask('GET', '/status')
      if (status === 401)
        throw new CommandError(EXIT.notAuthorised, 'the token was refused: it is unknown, revoked or expired')
      if (args.json === true) console.out(JSON.stringify(body, null, 2))
      else {
        console.out(
          `${connection.server.origin}  ${wholeValue(body['status'])}, database ${wholeValue(body['database'])}`,
        )
        for (const [name, value] of Object.entries(body['stats'] ?? {}))
          console.out(`  ${name.replaceAll('_', ' ')}: ${wholeValue(value)}`)
      }
      return status === 200 ? EXIT.ok : EXIT.failed
    },
  })
}
