import { defineCommand } from 'citty'
import * as z from 'zod'
import { apiOf, type Row } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { progressText } from '../progress.ts'
import { renderTable, safeText, wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf job show JOB`, `cf job retry JOB`, `cf job cancel JOB`. */
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
    meta: { name: 'job', description: 'Look at a job, start it again or stop it' },
    subCommands: {
      show: showJob(console),
      retry: order('retry', 'Queue what failed or was cancelled once more'),
      cancel: order('cancel', 'Stop a job that waits or runs'),
    },
  })
}

const attempts = z.array(
  z.object({
    attempt: z.number(),
    fence: z.number(),
    builder: z.string(),
    started_at: z.string(),
    ended_at: z.string().nullable(),
    outcome: z.string(),
    message: z.string().nullable(),
  }),
)

function showJob(console: Console): Command {
  return defineCommand({
    meta: {
      name: 'show',
      description: 'Everything that is known of a job: attempts, progress, end of its log',
    },
    args: {
      job: { type: 'positional', required: true, description: 'Id of a job, as cf jobs lists it' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const job = await api.call('GET', `/v1/jobs/${encodeURIComponent(args.job)}`)
      if (args.json === true) console.out(JSON.stringify(job, null, 2))
      else for (const line of describeJob(job)) console.out(line)
      return EXIT.ok
    },
  })
}

function describeJob(job: Row): string[] {
  const { log_tail: log, attempts: made, progress, ...members } = job
  const rows = attempts
    .parse(made)
    .map((one) => [
      one.attempt,
      one.fence,
      one.builder,
      one.started_at,
      one.ended_at,
      one.outcome,
      one.message,
    ])
  return [
    ...Object.entries(members).map(([name, value]) => `${name.padEnd(16)}${wholeValue(value)}`),
    `${'progress'.padEnd(16)}${progressText(progress) ?? '-'}`,
    ...(rows.length === 0
      ? ['', 'no builder has taken it yet: cf why-waiting says why']
      : ['', renderTable(['ATTEMPT', 'FENCE', 'BUILDER', 'BEGAN', 'ENDED', 'OUTCOME', 'MESSAGE'], rows)]),
    ...(typeof log === 'string' && log !== '' ? ['', 'the end of its log:', safeText(log.trimEnd())] : []),
  ]
}

function sentence(verb: 'retry' | 'cancel', job: string, done: boolean): string {
  if (verb === 'retry') return `queued again as ${job}`
  return done ? `${job} is cancelled` : `${job} runs: its builder stops with its next heartbeat`
}
