import path from 'node:path'
import { CannotCollect, type Host } from './collector.ts'
import { listIfAny, logicalLines, readText, readTextIfAny } from './read-text.ts'

/**
 * sshd_config(5): what Match blocks set of some keywords, in lower case, with every value; `null` without a configuration. `sshd -T` shows
 * what holds for a connection that no block is about.
 */
export async function underMatch(host: Host): Promise<Readonly<Record<string, readonly string[]>> | null> {
  if (!host.tree.exists(CONFIGURATION)) return null
  const found = new Map<string, string[]>(KEYWORDS.map((keyword) => [keyword, []]))
  await readInto(found, host, { file: CONFIGURATION, depth: 0, matched: false })
  return Object.fromEntries(found)
}

type Found = ReadonlyMap<string, string[]>
type Place = { readonly file: string; readonly depth: number; readonly matched: boolean }

/** A block that begins in an included file ends with it; a file that is included in a block belongs to it. */
async function readInto(found: Found, host: Host, place: Place): Promise<void> {
  if (place.depth > DEPTH_MAX) throw new CannotCollect('too_large', 'sshd_config includes too much')
  let { matched } = place
  for (const line of logicalLines(await readText(host, place.file))) {
    const [, keyword = '', value = ''] = /^([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*)$/.exec(line) ?? []
    const name = keyword.toLowerCase()
    if (name === 'match') matched = true
    else if (name === 'include')
      for (const file of await includedFiles(host, value))
        await readInto(found, host, { file, depth: place.depth + 1, matched })
    else if (matched) found.get(name)?.push(value.replace(/^"(.*)"$/, '$1'))
  }
}

/** Patterns with stars in the name of the file; others have never been seen in a configuration. */
async function includedFiles(host: Host, patterns: string): Promise<readonly string[]> {
  const files: string[] = []
  for (const word of patterns.split(/\s+/)) {
    const pattern = word.startsWith('/') ? word : path.join(path.dirname(CONFIGURATION), word)
    const [directory, name] = [path.dirname(pattern), path.basename(pattern)]
    if (/[*?[]/.test(directory) || /[?[]/.test(name))
      throw new CannotCollect('unsupported', 'sshd_config includes files by a pattern that is not understood')
    const shape = new RegExp(`^${name.replace(/[.+(){}|^$\\\]]/g, '\\$&').replaceAll('*', '.*')}$`)
    const names = name.includes('*')
      ? ((await listIfAny(host, directory)) ?? []).filter((one) => shape.test(one))
      : [name]
    for (const one of names)
      if ((await readTextIfAny(host, `${directory}/${one}`)) !== null) files.push(`${directory}/${one}`)
  }
  return files
}

const CONFIGURATION = '/etc/ssh/sshd_config'
/** Those that rules ask about and that a Match block may set. */
const KEYWORDS = ['banner', 'clientalivecountmax', 'clientaliveinterval', 'loglevel', 'permitrootlogin']
const DEPTH_MAX = 8
