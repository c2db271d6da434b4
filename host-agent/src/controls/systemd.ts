import { CannotCollect, type Collector, type Json, NAME, textsArg } from './collector.ts'

/** What `systemctl show` says of each unit; one that does not exist is `not-found` and `inactive`. */
export const unit: Collector = async ({ run }, args) => {
  const units = textsArg(args, 'units', NAME)
  const asked = ['ActiveState', 'SubState', 'LoadState', 'UnitFileState'].join(',')
  const blocks = blocksOf(await run('systemctl', ['show', `--property=${asked}`, '--', ...units]))
  if (blocks.length !== units.length)
    throw new CannotCollect('failed', `systemctl told of ${blocks.length} units instead of ${units.length}`)
  const states = blocks.map((block) => ({
    active: block.get('ActiveState') ?? '',
    sub: block.get('SubState') ?? '',
    load: block.get('LoadState') ?? '',
    enabled: block.get('UnitFileState') ?? '',
  }))
  const byName: Record<string, Json> = { activeStates: states.map(({ active }) => active) }
  for (const [at, name] of units.entries()) byName[name] = states[at] ?? null
  return byName
}

/** systemd-timesyncd as timedatectl sees it. Fallback servers count when no others are named, as in timesyncd.conf(5). */
export const timeSync: Collector = async ({ run }) => {
  const [sync] = blocksOf(await run('timedatectl', ['show-timesync', '--all']))
  const [clock] = blocksOf(await run('timedatectl', ['show', '--property=NTPSynchronized']))
  const words = (name: string) => (sync?.get(name) ?? '').split(' ').filter((word) => word !== '')
  const named = [...words('LinkNTPServers'), ...words('SystemNTPServers'), ...words('RuntimeNTPServers')]
  const longest = spanSeconds(sync?.get('PollIntervalMaxUSec') ?? '')
  return {
    servers: named.length > 0 ? named : words('FallbackNTPServers'),
    synchronised: clock?.get('NTPSynchronized') === 'yes',
    ...(longest === null ? {} : { pollIntervalMaxSeconds: longest }),
  }
}

/** `NAME=value` lines, an empty line between two units. */
function blocksOf(output: string): readonly ReadonlyMap<string, string>[] {
  return output
    .split(/\n{2,}/)
    .filter((block) => block.trim() !== '')
    .map(
      (block) =>
        new Map(
          block.split('\n').flatMap((line) => {
            const at = line.indexOf('=')
            return at <= 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
          }),
        ),
    )
}

/** systemd.time(7) as systemd prints spans: `34min 8s`. Parts below a second are dropped. */
export function spanSeconds(text: string): number | null {
  let seconds = 0
  for (const word of text.split(' ')) {
    const [, count, name] = /^([0-9]{1,9})(d|h|min|s|ms|us)$/.exec(word) ?? []
    const unitSeconds = SECONDS[name ?? '']
    if (count === undefined || unitSeconds === undefined) return null
    seconds += Number(count) * unitSeconds
  }
  return Math.floor(seconds)
}

const SECONDS: Readonly<Record<string, number | undefined>> = {
  d: 86_400,
  h: 3600,
  min: 60,
  s: 1,
  ms: 0.001,
  us: 0.000_001,
}
