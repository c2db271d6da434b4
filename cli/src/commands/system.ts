import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf system show HOST`. */
export function systemCommand(console: Console): Command {
  const show = defineCommand({
    meta: { name: 'show', description: 'Everything that is known of one host' },
    args: {
      host: { type: 'positional', required: true, description: 'Host name or id' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const system = await api.call('GET', `/v1/systems/${encodeURIComponent(args.host)}`)
      if (args.json === true) console.out(JSON.stringify(system, null, 2))
      else {
        const { drift: _, keys, ...members } = system
        for (const [name, value] of Object.entries(members))
          console.out(`${name.padEnd(16)}${wholeValue(value)}`)
        for (const key of Array.isArray(keys) ? keys : [])
          console.out(`${'key'.padEnd(16)}${wholeValue(key.key_id)}  ${wholeValue(key.status)}`)
      }
      return EXIT.ok
    },
  })
  return defineCommand({ meta: { name: 'system', description: 'One host' }, subCommands: { show } })
}
