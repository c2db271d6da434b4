import { type Collector, type Json, PATH, textArg } from './collector.ts'
import { readText } from './read-text.ts'
import { isSecretName, WITHHELD, withholdSecrets } from './withhold.ts'

/** `key = value`, `key=value` or `key value`, the last of each; the key "" holds the text of a file without any. */
export const keyValueFile: Collector = async (host, args) =>
  parseKeyValues(await readText(host, textArg(args, 'path', PATH)))

export function parseKeyValues(text: string): Json {
  const values = new Map<string, string>()
  for (const raw of text.split('\n')) {
    const line = raw.trim()
    if (line === '' || /^[#;[]/.test(line)) continue
    const [, key, value] = (line.includes('=') ? /^([^=]*)=(.*)$/ : /^(\S+)\s+(.*)$/).exec(line) ?? []
    if (key === undefined || value === undefined || key.trim() === '') continue
    const name = key.trim()
    values.delete(name)
    values.set(name, isSecretName(name) ? WITHHELD : withholdSecrets(unquoted(value.trim())))
  }
  return values.size === 0 ? { '': withholdSecrets(text.trim()) } : Object.fromEntries(values)
}

/** The text of a file, such as that of a banner. */
export const textFile: Collector = async (host, args) =>
  withholdSecrets(await readText(host, textArg(args, 'path', PATH), TEXT_BYTES_MAX))

function unquoted(value: string): string {
  return /^"(.*)"$/.exec(value)?.[1] ?? value
}

/** `text-file` of the catalogue. */
const TEXT_BYTES_MAX = 16 * 1024
