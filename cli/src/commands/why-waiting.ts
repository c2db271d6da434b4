import { defineCommand } from 'citty'
import * as z from 'zod'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { oneLine } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

const waiting = z.object({
  job: z.string(),
  kind: z.string(),
  state: z.string(),
  attempt: z.number(),
  reasons: z.array(z.object({ code: z.string(), sentence: z.string() })),
})

/** `cf why-waiting JOB`: every reason, the weightiest first. */
export function whyWaitingCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'why-waiting', description: 'Why a job does not run yet' },
    args: {
      job: { type: 'positional', required: true, description: 'Id of a job, as cf jobs lists it' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const answer = await api.call('GET', `/v1/jobs/${encodeURIComponent(args.job)}/waiting`)
      if (args.json === true) console.out(JSON.stringify(answer, null, 2))
      else {
        const { job, kind, state, attempt, reasons } = waiting.parse(answer)
        console.out(oneLine(`${job}  ${kind}, ${state}, attempt ${attempt}`))
        for (const { code, sentence } of reasons) console.out(oneLine(`  ${code}: ${sentence}`))
      }
      return EXIT.ok
    },
  })
}
