import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { defineCommand } from 'citty'
import { type Api, apiOf, type Query, readList } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import { exportBundle } from './export-bundle.ts'
import { fetchDocument, write } from './fetch-document.ts'
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
        description: 'The form of the document',
      },
      bundle: {
        type: 'boolean',
        description: 'Every format, in a directory with a signed list of its files (cf verify-export)',
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
      if ((format !== undefined) === (args.bundle === true))
        throw new CommandError(
          EXIT.usage,
          `name one form with --format (${FORMATS.join(', ')}), or all of them with --bundle`,
        )
      const api = apiOf(console, await findConnection(console, args))
      if (format === undefined) {
        if (out === undefined)
          throw new CommandError(EXIT.usage, '--bundle writes several files: name a directory with --out')
        const query = { release, as_of: args['as-of'], ...(fleet ? { fleet: 'true' } : { system: host }) }
        return await exportBundle(console, api, { query, directory: out })
      }
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

const FORMATS: string[] = ['cklb', 'ckl', 'xccdf', 'hdf', 'oscal-ar', 'oscal-cd', 'oscal-poam', 'emass']
const ONE_HOST: ReadonlySet<string> = new Set(['cklb', 'ckl', 'xccdf', 'hdf'])
