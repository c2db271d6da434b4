import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf flake poll FLAKE`. */
export function flakeCommand(console: Console): Command {
  const poll = defineCommand({
    meta: { name: 'poll', description: 'Ask the forge now, without a webhook' },
    args: {
      flake: { type: 'positional', required: true, description: 'Name of a flake, as cf flakes lists it' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('POST', `/v1/flakes/${encodeURIComponent(args.flake)}/poll`)
      const job = wholeValue(answer['job'])
      if (args.json === true) console.out(JSON.stringify(answer, null, 2))
      else console.out(answer['fresh'] === true ? `${job} asks the forge` : `${job} was about to ask already`)
      return EXIT.ok
    },
  })
  return defineCommand({
    meta: { name: 'flake', description: 'One watched repository' },
    subCommands: { poll },
  })
}
