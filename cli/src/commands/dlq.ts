import { defineCommand } from 'citty'
import { apiOf } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { cell, renderTable } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf dlq show`, `cf dlq retry`: messages that were set aside because no builder finished with them. */
export function dlqCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'dlq', description: 'Look into the dead-letter queues and give messages back' },
    subCommands: { show: showCommand(console), retry: retryCommand(console) },
  })
}

function showCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'show', description: 'What was set aside, and whether its job still waits' },
    args: { ...QUEUE, ...CONNECTION_ARGUMENTS },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const page = await api.list('/v1/dlq', queueOf(args.queue))
      if (args.json === true) {
        console.out(JSON.stringify(page, null, 2))
        return EXIT.ok
      }
      if (page.items.length > 0)
        console.out(
          renderTable(
            COLUMNS.map(([heading]) => heading),
            page.items.map((one) => COLUMNS.map(([, member]) => one[member])),
          ),
        )
      const others = sumOf(page['queues'], 'of_other_tenants')
      if (page.items.length === 0) console.out('nothing of yours is in a dead-letter queue')
      if (others > 0) console.out(`${others} more belong to other tenants`)
      return EXIT.ok
    },
  })
}

function retryCommand(console: Console): Command {
  return defineCommand({
    meta: {
      name: 'retry',
      description: 'Give hints of waiting jobs back to their queue, and drop those of jobs that are over',
    },
    args: {
      ...QUEUE,
      'discard-unreadable': { type: 'boolean', description: 'Throw away what is no hint at all' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const discard = args['discard-unreadable'] === true
      const body = { ...queueOf(args.queue), ...(discard ? { discard_unreadable: true } : {}) }
      const done = await api.call('POST', '/v1/dlq/retry', { body })
      if (args.json === true) console.out(JSON.stringify(done, null, 2))
      else for (const [member, text] of OUTCOMES) console.out(`${cell(done[member])} ${text}`)
      return EXIT.ok
    },
  })
}

function queueOf(queue: unknown): { queue?: string } {
  if (queue === '') throw new CommandError(EXIT.usage, '--queue has no value')
  return typeof queue === 'string' ? { queue } : {}
}

function sumOf(rows: unknown, member: string): number {
  if (!Array.isArray(rows)) return 0
  return rows.reduce((sum: number, row: unknown) => sum + numberIn(row, member), 0)
}

function numberIn(row: unknown, member: string): number {
  const value: unknown = typeof row === 'object' && row !== null ? Reflect.get(row, member) : 0
  return typeof value === 'number' ? value : 0
}

const QUEUE = {
  queue: {
    type: 'string',
    valueHint: 'KIND',
    description: 'Only this one: resolve, evaluate, build or scan',
  },
} as const
const COLUMNS = [
  ['QUEUE', 'queue'],
  ['SENT', 'sent_at'],
  ['IS', 'is'],
  ['JOB', 'job'],
  ['ATTEMPT', 'attempt'],
  ['JOB STATE', 'job_state'],
] as const
const OUTCOMES = [
  ['moved', 'given back to their queue'],
  ['dropped', 'dropped: their jobs do not wait for them any more'],
  ['discarded', 'thrown away: no hints'],
  ['unreadable', 'left: no hints (--discard-unreadable throws them away)'],
  ['others', 'left: of other tenants'],
] as const
