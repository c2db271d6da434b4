import { type Args, type Collector, type Host, NAME, textArg } from './collector.ts'
import { listIfAny, logicalLines, readText, readTextIfAny } from './read-text.ts'
import { withholdSecrets } from './withhold.ts'

/** The lines of a PAM stack, comments left out. */
export const pam: Collector = async (host, args) =>
  (await stackOf(host, args)).map((line) => withholdSecrets(line.replace(/\s+/g, ' ')))

/** limits.conf(5) as pam_limits of a service reads it: the file of its `conf=`, or the usual places, where later lines win. */
export const limits: Collector = async (host, args) => {
  const stack = await stackOf(host, args)
  const lines = stack.filter((line) => line.includes('pam_limits.so'))
  const named = lines.flatMap((line) => /\sconf=(\S+)/.exec(line)?.[1] ?? [])
  const values: Record<string, string> = {}
  if (lines.length === 0) return values
  for (const text of named.length > 0 ? [await readText(host, named.at(-1) ?? '')] : await usualFiles(host)) {
    for (const line of text.split('\n')) {
      const [domain, type, item, value, ...rest] = line.replace(/#.*$/, '').trim().split(/\s+/)
      if (
        domain === undefined ||
        type === undefined ||
        item === undefined ||
        value === undefined ||
        rest.length > 0
      )
        continue
      for (const one of type === '-' ? ['soft', 'hard'] : [type]) values[`${domain} ${one} ${item}`] = value
    }
  }
  return values
}

async function stackOf(host: Host, args: Args): Promise<readonly string[]> {
  const text = await readText(host, `/etc/pam.d/${textArg(args, 'service', NAME)}`)
  return logicalLines(text).filter((line) => !line.startsWith('#'))
}

async function usualFiles(host: Host): Promise<readonly string[]> {
  const more = (await listIfAny(host, '/etc/security/limits.d')) ?? []
  const files = ['/etc/security/limits.conf', ...more.map((name) => `/etc/security/limits.d/${name}`)]
  const texts = await Promise.all(
    files.filter((file) => file.endsWith('.conf')).map((file) => readTextIfAny(host, file)),
  )
  return texts.filter((text) => text !== null)
}
