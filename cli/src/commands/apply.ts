import type { FleetChange } from '@crystal-forge/protocol'
import { defineCommand } from 'citty'
import * as z from 'zod'
import { apiOf, type Row } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { readFleetFile } from '../fleet-file.ts'
import { oneLine } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf apply -f fleet.toml`: brings the control plane to what a file declares. */
export function applyCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'apply', description: 'Bring the control plane to what a file declares' },
    args: {
      file: { type: 'string', alias: 'f', required: true, valueHint: 'FILE', description: 'fleet.toml' },
      'dry-run': { type: 'boolean', description: 'Print the plan and change nothing' },
      prune: { type: 'boolean', description: 'Deactivate what is not declared any more' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      if (args.file === '')
        throw new CommandError(EXIT.usage, '-f has no value: name the file that declares the fleet')
      const { document, warnings } = await readFleetFile(args.file)
      for (const warning of warnings) console.err(oneLine(`warning: ${warning}`))
      const connection = await findConnection(console, args)
      const flag = (value: boolean | undefined): string => String(value === true)
      const query = { dry_run: flag(args['dry-run']), prune: flag(args.prune) }
      const plan = await apiOf(console, connection).call('PUT', '/v1/fleet', { query, body: document })
      if (args.json === true) console.out(JSON.stringify(plan, null, 2))
      else printPlan(console, plan, connection.server)
      return EXIT.ok
    },
  })
}

const fleetPlan = z.object({
  applied: z.boolean(),
  changes: z.array(
    z.object({
      action: z.enum(['create', 'update', 'deactivate', 'reactivate', 'keep']),
      kind: z.string(),
      name: z.string(),
      changes: z.record(z.string(), z.object({ from: z.unknown(), to: z.unknown() })).optional(),
      path: z.string().optional(),
      note: z.string().optional(),
    }),
  ),
  undeclared: z.array(z.object({ kind: z.string(), name: z.string() })),
})

function printPlan(console: Console, answer: Row, server: URL): void {
  const plan = fleetPlan.parse(answer)
  for (const change of plan.changes) {
    if (change.action === 'keep' && change.note === undefined) continue
    const fields = Object.entries(change.changes ?? {}).map(
      ([name, { from, to }]) => `${name}: ${show(from)} -> ${show(to)}`,
    )
    const note = change.note === undefined ? [] : [`(${change.note})`]
    console.out(
      oneLine(
        `${SIGNS[change.action]} ${change.kind} ${change.name}  ${[...fields, ...note].join(', ')}`.trimEnd(),
      ),
    )
  }
  for (const { kind, name } of plan.undeclared)
    console.out(oneLine(`? ${kind} ${name}  is not declared and stays; --prune deactivates it`))
  for (const hook of plan.changes)
    if (hook.path !== undefined && hook.action !== 'deactivate')
      console.out(oneLine(`hook ${hook.name} delivers to ${new URL(hook.path, server).href}`))
  console.out(summary(plan))
}

function summary({ applied, changes }: z.output<typeof fleetPlan>): string {
  const count = (action: FleetChange['action']): number =>
    changes.filter((one) => one.action === action).length
  const made = changes.length - count('keep')
  if (made === 0) return `nothing to do: ${changes.length} entries are as declared`
  const parts = [
    `${count('create')} to create`,
    `${count('update')} to change`,
    `${count('reactivate')} to take back`,
    `${count('deactivate')} to deactivate`,
    `${count('keep')} as declared`,
  ]
  const counts = parts.filter((part) => !part.startsWith('0 ')).join(', ')
  return applied
    ? `applied: ${counts.replaceAll(' to create', ' created').replaceAll(' to change', ' changed').replaceAll(' to take back', ' taken back').replaceAll(' to deactivate', ' deactivated')}`
    : `dry run: ${counts}`
}

function show(value: unknown): string {
  return value === null || value === undefined
    ? '-'
    : typeof value === 'string'
      ? value
      : JSON.stringify(value)
}

const SIGNS: Readonly<Record<FleetChange['action'], string>> = {
  create: '+',
  update: '~',
  deactivate: '-',
  reactivate: '^',
  keep: '=',
}
