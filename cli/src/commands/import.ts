import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { defineCommand } from 'citty'
import { apiOf, type Row } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { renderTable, wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf import FILE`: a checklist becomes statements of whoever imports it, a benchmark the files of a new release. */
export function importCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'import', description: 'Take over a checklist (CKLB, CKL) or a benchmark (XCCDF)' },
    args: {
      file: { type: 'positional', required: true, description: 'A checklist or a benchmark' },
      host: {
        type: 'string',
        valueHint: 'HOST',
        description: 'Another host than the one the checklist names',
      },
      catalogue: { type: 'string', valueHint: 'DIR', description: 'Where the files of a new release go' },
      'dry-run': { type: 'boolean', description: 'Only say what would change' },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const document = await readDocument(args.file)
      const api = apiOf(console, await findConnection(console, args))
      const dryRun = args['dry-run'] === true
      const body = { document, dry_run: dryRun, ...(args.host === undefined ? {} : { system: args.host }) }
      const answer = await api.call('POST', '/v1/imports', { body })
      if (answer['kind'] === 'benchmark') await adopt(console, answer, { dryRun, directory: args.catalogue })
      else if (args.json !== true) showChecklist(console, answer)
      if (args.json === true) console.out(JSON.stringify({ ...answer, files: undefined }, null, 2))
      return EXIT.ok
    },
  })
}

async function readDocument(file: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(await readFile(file))
  } catch (cause) {
    throw new CommandError(EXIT.usage, `${file} cannot be read: ${reason(cause)}`, { cause })
  }
}

function showChecklist(console: Console, answer: Row): void {
  console.out(
    `${wholeValue(answer['hostname'])}: ${wholeValue(answer['rules'])} rules, ${wholeValue(answer['same'])} as they are, ${wholeValue(answer['recorded'])} statements recorded`,
  )
  const statements = list(answer['statements']).map((one) => [
    one['rule'],
    one['ours'],
    one['theirs'],
    one['statement'],
  ])
  if (statements.length > 0) console.out(renderTable(['RULE', 'HERE', 'CHECKLIST', 'STATEMENT'], statements))
  const passed = list(answer['passed_over']).map((one) => [
    one['rule'],
    one['ours'],
    one['theirs'],
    one['because'],
  ])
  if (passed.length > 0) console.out(renderTable(['PASSED OVER', 'HERE', 'CHECKLIST', 'BECAUSE'], passed))
}

async function adopt(
  console: Console,
  answer: Row,
  { dryRun, directory }: { readonly dryRun: boolean; readonly directory: string | undefined },
): Promise<void> {
  console.out(
    `${wholeValue(answer['release'])} after ${wholeValue(answer['before'])}: ${wholeValue(answer['unchanged'])} rules unchanged`,
  )
  for (const rule of texts(answer['added'])) console.out(`+ ${rule} (waits for an assessment)`)
  for (const rule of texts(answer['removed'])) console.out(`- ${rule}`)
  for (const { rule, parts } of list(answer['changed']))
    console.out(`~ ${wholeValue(rule)}: ${texts(parts).join(', ')}`)
  showFlips(console, answer)
  if (dryRun) return
  if (directory === undefined)
    throw new CommandError(
      EXIT.usage,
      'nothing is written: name the catalogue with --catalogue DIR, or say --dry-run',
    )
  const files: unknown = answer['files']
  const entries = typeof files === 'object' && files !== null ? Object.entries(files) : []
  for (const [name, content] of entries) {
    // What a server names must stay inside of the directory.
    if (typeof content !== 'string' || !/^[a-z]+\/(rules\/V-[0-9]{6}|benchmark)\.json$/.test(name))
      throw new CommandError(
        EXIT.failed,
        `the server names the file ${JSON.stringify(name)}, which is no file of a catalogue`,
      )
    const file = join(directory, name)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }
  console.err(`${entries.length} files are written below ${directory}`)
}

/** What becomes of the hosts once their configurations follow the release. */
function showFlips(console: Console, answer: Row): void {
  const hosts: unknown = answer['hosts']
  if (typeof hosts !== 'object' || hosts === null) return
  const of = (name: string): unknown => Reflect.get(hosts, name)
  console.out(
    `it flips ${wholeValue(of('flipped'))} of ${wholeValue(of('looked_at'))} hosts: opened ${wholeValue(answer['opened'])}, closed ${wholeValue(answer['closed'])}${of('more') === true ? ' (there are more hosts, which were not looked at)' : ''}`,
  )
  const rows = list(answer['flips']).map((one) => [one['hostname'], one['rule'], one['before'], one['after']])
  if (rows.length > 0) console.out(renderTable(['HOST', 'RULE', 'NOW', 'THEN'], rows))
  if (answer['flips_left_out'] !== 0) console.err(`${wholeValue(answer['flips_left_out'])} more are left out`)
}

function list(value: unknown): readonly Row[] {
  return Array.isArray(value) ? value : []
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(wholeValue) : []
}
