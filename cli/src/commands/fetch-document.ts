import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import type { Api, Query, Row } from '../api.ts'
import { CommandError, EXIT } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { wholeValue } from '../table.ts'

/** One document of an export, and one line about it. What is not what its digest says is refused. */
export async function fetchDocument(
  api: Api,
  format: string,
  query: Query,
): Promise<{ readonly text: string; readonly sha256: string; readonly summary: string }> {
  const answer = await api.call('GET', `/v1/exports/${encodeURIComponent(format)}`, { query })
  const { document, sha256 } = answer
  if (typeof document !== 'string' || createHash('sha256').update(document, 'utf8').digest('hex') !== sha256)
    throw new CommandError(EXIT.failed, 'the document is not what the server says it is: its digest differs')
  return { text: document, sha256, summary: `${scoreLine(answer)}; sha256 ${sha256}` }
}

/** The score, and what it must not be shown without. */
export function scoreLine(answer: Row): string {
  const states: unknown = answer['states']
  const counted =
    typeof states === 'object' && states !== null
      ? Object.entries(states).map(([state, number]) => `${state} ${String(number)}`)
      : []
  return `${wholeValue(answer['release'])} as of ${wholeValue(answer['as_of'])}; ${counted.join(', ')}; score ${percent(answer['score'])}, coverage ${percent(answer['coverage'])}, accepted risk ${percent(answer['accepted_risk'])}, open CAT I ${wholeValue(answer['open_cat_i'])}`
}

export async function write(file: string, text: string): Promise<void> {
  await writeFile(file, text).catch((error: unknown) => {
    throw new CommandError(EXIT.usage, `${file} cannot be written: ${reason(error)}`, { cause: error })
  })
}

function percent(value: unknown): string {
  return typeof value === 'number' ? `${(value * 100).toFixed(1)} %` : 'unknown'
}
