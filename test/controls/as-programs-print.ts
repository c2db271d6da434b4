/**
 * What programs of a host print once they were told something. Each is held against what the real program printed for a recorded input
 * (`as-programs-print.test.ts`); they stand in for it where the input is that of an evaluation.
 */

/** `sshd -T` with some settings over what it prints without any: names in lower case, lists joined by commas, booleans as words. */
export function asSshdPrints(
  usual: string,
  settings: Readonly<Record<string, boolean | number | string | readonly string[]>>,
): string {
  const said = Object.entries(settings).map(([name, value]) => [name.toLowerCase(), word(value)] as const)
  const names = new Set(said.map(([name]) => name))
  const others = usual.split('\n').filter((line) => line !== '' && !names.has(line.split(' ', 1)[0] ?? ''))
  return `${[...others, ...said.map(([name, value]) => `${name} ${value}`)].join('\n')}\n`
}

function word(value: boolean | number | string | readonly string[]): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'object' ? value.join(',') : String(value)
}

/**
 * `auditctl -l` after these rules were loaded: keys as a field, unset ids as -1, all system calls where none is named. Options are no rules
 * and are not listed. The kernel lists system calls by their numbers; here they keep their order.
 */
export function asAuditctlLists(rules: readonly string[]): string {
  const listed = rules.filter((rule) => /^-[aAw] /.test(rule)).map(asListed)
  return listed.length === 0 ? 'No rules\n' : `${listed.join('\n')}\n`
}

function asListed(rule: string): string {
  if (rule.startsWith('-w ')) return rule.replace(/^-w (\/.*?)\/? -p/, '-w $1 -p')
  const all = rule.includes(' -S ') ? rule : rule.replace(/^(-[aA] \S+)/, '$1 -S all')
  return all.replace(/=unset\b/g, '=-1').replace(/ -k (\S+)$/, ' -F key=$1')
}

/** `auditctl -s` after rules and the limit of waiting records were loaded, over what it says without. */
export function asAuditctlSays(usual: string, rules: readonly string[], backlogLimit: number): string {
  const immutable = rules.includes('--loginuid-immutable')
  return usual
    .replace(/^enabled .*$/m, 'enabled 1')
    .replace(/^backlog_limit .*$/m, `backlog_limit ${backlogLimit}`)
    .replace(/^loginuid_immutable .*$/m, `loginuid_immutable ${immutable ? '1 locked' : '0 unlocked'}`)
}

/** `timedatectl show-timesync --all` with timesyncd.conf(5), over what it says without. Of a key the last line counts. */
export function asTimedatectlShows(usual: string, file: string): string {
  const of = (key: string) =>
    file
      .split('\n')
      .filter((line) => line.startsWith(`${key}=`))
      .at(-1)
      ?.slice(key.length + 1)
  const seconds = Number(of('PollIntervalMaxSec') ?? Number.NaN)
  const longest = Number.isNaN(seconds) ? null : seconds % 60 === 0 ? `${seconds / 60}min` : `${seconds}s`
  const servers = usual.replace(/^SystemNTPServers=.*$/m, `SystemNTPServers=${of('NTP') ?? ''}`)
  return longest === null
    ? servers
    : servers.replace(/^PollIntervalMaxUSec=.*$/m, `PollIntervalMaxUSec=${longest}`)
}

/** `dconf read`: GVariant text format. */
export function asDconfReads(value: string | number | boolean | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'number') return `uint32 ${value}\n`
  if (typeof value === 'boolean') return `${value}\n`
  const quote = value.includes("'") ? '"' : "'"
  return `${quote}${value.replaceAll('\\', '\\\\').replaceAll(quote, `\\${quote}`).replaceAll('\n', '\\n')}${quote}\n`
}
