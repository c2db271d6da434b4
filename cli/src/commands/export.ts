import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { defineCommand } from 'citty'
import { type Api, apiOf, type Query, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf export --host H | --fleet --format F`: documents for auditors. */
export function exportCommand(console: Console): Command {
  return defineCommand({
    meta: { name: 'export', description: 'Write results of the STIG in a form that auditors read' },
    args: {
      host: { type: 'string', valueHint: 'HOST', description: 'Of one host' },
      fleet: { type: 'boolean', description: 'Of every host; a format of one host becomes a file for each' },
      format: {
        type: 'enum',
        options: FORMATS,
        required: true,
        description: 'The form of the document',
      },
      'as-of': { type: 'string', valueHint: 'DATE', description: 'A date or a time in the past' },
      release: { type: 'string', valueHint: 'V1R2', description: 'A release of the benchmark' },
      out: {
        type: 'string',
        alias: 'o',
        valueHint: 'FILE',
        description: 'Where to write it (a directory for several files); standard output otherwise',
      },
      ...CONNECTION_ARGUMENTS,
    },
    run: async ({ args }): Promise<ExitCode> => {
      const { host, format, out, release } = args
      const fleet = args.fleet === true
      if ((host !== undefined) === fleet)
        throw new CommandError(EXIT.usage, 'name one host with --host, or --fleet')
      if (out === '') throw new CommandError(EXIT.usage, '--out has no value')
      const api = apiOf(console, await findConnection(console, args))
      // One time for every host, whenever the answer comes.
      const query: Query = {
        release,
        as_of: args['as-of'] ?? (fleet ? console.now().toISOString() : undefined),
      }
      if (fleet && ONE_HOST.has(format)) {
        if (out === undefined)
          throw new CommandError(
            EXIT.usage,
            `--fleet writes a file for each host: name a directory with --out`,
          )
        return await exportEach(console, api, { format, query, directory: out })
      }
      const document = await fetchDocument(api, format, {
        ...query,
        ...(fleet ? { fleet: 'true' } : { system: host }),
      })
      if (out === undefined) console.out(document.text.replace(/\n$/, ''))
      else await write(out, document.text)
      if (out !== undefined) console.err(`${out}: ${document.summary}`)
      return EXIT.ok
    },
  })
}

async function exportEach(
  console: Console,
  api: Api,
  {
    format,
    query,
    directory,
  }: { readonly format: string; readonly query: Query; readonly directory: string },
): Promise<ExitCode> {
  const { items } = await readList(api, '/v1/systems', { active: 'true', limit: '200' }, true)
  await mkdir(directory, { recursive: true }).catch((error: unknown) => {
    throw new CommandError(EXIT.usage, `${directory} cannot be made: ${reason(error)}`, { cause: error })
  })
  for (const { hostname } of items) {
    const name = wholeValue(hostname)
    const { text, summary } = await fetchDocument(api, format, { ...query, system: name })
    // Host names are letters, digits, dots and dashes, and begin with a letter or a digit.
    const file = join(
      directory,
      `${name}.${format === 'xccdf' ? 'xccdf.xml' : format === 'hdf' ? 'hdf.json' : format}`,
    )
    await write(file, text)
    console.out(`${file}: ${summary}`)
  }
  return EXIT.ok
}

async function fetchDocument(
  api: Api,
  format: string,
  query: Query,
): Promise<{ readonly text: string; readonly summary: string }> {
  const answer = await api.call('GET', `/v1/exports/${encodeURIComponent(format)}`, { query })
  const { document, sha256 } = answer
  if (typeof document !== 'string' || createHash('sha256').update(document, 'utf8').digest('hex') !== sha256)
    throw new CommandError(EXIT.failed, 'the document is not what the server says it is: its digest differs')
  const states: unknown = answer['states']
  const counted =
    typeof states === 'object' && states !== null
      ? Object.entries(states).map(([state, number]) => `${state} ${String(number)}`)
      : []
  return {
    text: document,
    summary: `${wholeValue(answer['release'])} as of ${wholeValue(answer['as_of'])}; ${counted.join(', ')}; score ${percent(answer['score'])}, coverage ${percent(answer['coverage'])}; sha256 ${sha256}`,
  }
}

async function write(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((error: unknown) => {
    throw new CommandError(EXIT.usage, `${file} cannot be written: ${reason(error)}`, { cause: error })
  })
}

function percent(value: unknown): string {
  return typeof value === 'number' ? `${(value * 100).toFixed(1)} %` : 'unknown'
}

const FORMATS: string[] = ['cklb', 'ckl', 'xccdf', 'hdf', 'oscal-ar', 'oscal-cd', 'oscal-poam', 'emass']
const ONE_HOST: ReadonlySet<string> = new Set(['cklb', 'ckl', 'xccdf', 'hdf'])
