import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type ExportManifest,
  MANIFEST_FILE,
  parseEnvelope,
  readExportManifest,
} from '@crystal-forge/protocol'
import type { Api, Query, Row } from '../api.ts'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { fetchDocument, scoreLine, write } from './fetch-document.ts'

type Bundle = { readonly query: Query; readonly directory: string }

/**
 * Every format of a host or of the fleet, and the signed list of the files. The list comes first and each document is held
 * against it; it is written last, so a bundle that broke off has none.
 */
export async function exportBundle(
  console: Console,
  api: Api,
  { query, directory }: Bundle,
): Promise<ExitCode> {
  await makeEmpty(directory)
  for (let left = ATTEMPTS; ; left--) {
    const { answer, manifest, text } = await fetchManifest(api, query)
    const different = await fetchFiles(api, { manifest, query, directory })
    if (different === null) {
      await write(join(directory, MANIFEST_FILE), text)
      console.out(`${directory}: ${manifest.files.length} files; ${scoreLine(answer)}`)
      return EXIT.ok
    }
    // Evidence that was under way while the list was made may have arrived since.
    if (left <= 1)
      throw new CommandError(
        EXIT.failed,
        `${different} is not what the signed list says: evidence is still arriving; name a time that is over with --as-of`,
      )
  }
}

async function makeEmpty(directory: string): Promise<void> {
  const names = await mkdir(directory, { recursive: true })
    .then(() => readdir(directory))
    .catch((cause: unknown) => {
      throw new CommandError(EXIT.usage, `${directory} cannot be made: ${reason(cause)}`, { cause })
    })
  if (names.length > 0)
    throw new CommandError(
      EXIT.usage,
      `${directory} holds ${names[0]}: a bundle has a directory of its own, name a new one with --out`,
    )
}

async function fetchManifest(
  api: Api,
  query: Query,
): Promise<{ readonly answer: Row; readonly manifest: ExportManifest; readonly text: string }> {
  const answer = await api.call('GET', '/v1/export-manifest', { query })
  const envelope = parseEnvelope(answer['envelope'])
  const read = envelope === null ? null : readExportManifest(envelope.payload)
  if (read === null || !read.ok)
    throw new CommandError(
      EXIT.failed,
      `the server's list of files cannot be read: ${read?.detail ?? 'it is no envelope'}`,
    )
  return { answer, manifest: read.manifest, text: `${JSON.stringify(answer['envelope'], null, 2)}\n` }
}

/** The name of the first file that differs from the list; null when all are there. */
async function fetchFiles(
  api: Api,
  { manifest, query, directory }: Bundle & { readonly manifest: ExportManifest },
): Promise<string | null> {
  for (const { name, format, host, sha256 } of manifest.files) {
    const of = host === null ? { fleet: query['fleet'], system: query['system'] } : { system: host }
    const about = { as_of: manifest.as_of, release: manifest.release }
    const document = await fetchDocument(api, format, { ...of, ...about })
    if (document.sha256 !== sha256) return name
    await write(join(directory, name), document.text)
  }
  return null
}

const ATTEMPTS = 3
