import { type Collector, textsArg } from './collector.ts'
import { readText, readTextIfAny } from './read-text.ts'
import { isSecretName, WITHHELD, withholdSecrets } from './withhold.ts'

/** The kernel's own quoting: double quotes keep spaces together. Of a parameter that is given twice the last counts. */
export const kernelCommandLine: Collector = async (host) => {
  const line = await readText(host, '/proc/cmdline')
  const values: Record<string, string> = {}
  for (const [word] of line.matchAll(/(?:[^\s"]|"[^"]*")+/g)) {
    const [, name = '', value = ''] = /^"?([^="]+)(?:=([\s\S]*))?$/.exec(word) ?? []
    // What follows belongs to the first process, not to the kernel.
    if (word === '--') break
    if (name === '') continue
    values[name] = isSecretName(name) ? WITHHELD : withholdSecrets(value.replaceAll('"', ''))
  }
  return values
}

/** Read from /proc/sys; a setting that this kernel does not have is left out. */
export const sysctl: Collector = async (host, args) => {
  const values: Record<string, string> = {}
  for (const name of textsArg(args, 'names', SETTING)) {
    const text = await readTextIfAny(host, `/proc/sys/${name.replaceAll('.', '/')}`)
    if (text !== null) values[name] = text.trim().replace(/\s+/g, ' ')
  }
  return values
}

/** Words between single dots, so that no name leads out of /proc/sys. */
const SETTING = /^[a-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/
