import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf job retry JOB`, `cf job cancel JOB`. */
export function jobCommand(console: Console): Command {
  const order = (verb: 'retry' | 'cancel', description: string): Command =>
    defineCommand({
      meta: { name: verb, description },
      args: {
        job: { type: 'positional', required: true, description: 'Id of a job, as cf jobs lists it' },
        ...CONNECTION_ARGUMENTS,
      },
      run: async ({ args }): Promise<ExitCode> => {
        const api = apiOf(console, await findConnection(console, args))
        const answer = await api.call('POST', `/v1/jobs/${encodeURIComponent(args.job)}/${verb}`)
        if (args.json === true) console.out(JSON.stringify(answer, null, 2))
        else console.out(sentence(verb, wholeValue(answer['job']), answer['done'] === true))
        return EXIT.ok
      },
    })
  return defineCommand({
    meta: { name: 'job', description: 'Start a job again or stop it' },
    subCommands: {
      retry: order('retry', 'Queue what failed or was cancelled once more'),
      cancel: order('cancel', 'Stop a job that waits or runs'),
    },
  })
}

function sentence(verb: 'retry' | 'cancel', job: string, done: boolean): string {
  if (verb === 'retry') return `queued again as ${job}`
  return done ? `${job} is cancelled` : `${job} runs: its builder stops with its next heartbeat`
}
