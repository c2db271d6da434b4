import { CannotCollect, type Collector, PATH } from './collector.ts'
import { readText } from './read-text.ts'
import { underMatch } from './sshd-match.ts'

/** `sshd -T` prints every setting in lower case; one that is given several times is a line each. */
export const sshd: Collector = async (host) => {
  const found = new Map<string, string>()
  for (const line of (await host.run('sshd', ['-T'])).split('\n')) {
    const [, name, value] = /^([a-z0-9]+)\s+(.*)$/.exec(line.trim()) ?? []
    if (name === undefined || value === undefined) continue
    const before = found.get(name)
    found.set(name, before === undefined ? value : `${before}\n${value}`)
  }
  if (found.size === 0) throw new CannotCollect('failed', 'sshd -T printed no settings')
  // Their order follows from what addresses the process itself could use.
  const addresses = found.get('listenaddress')
  if (addresses !== undefined) found.set('listenaddress', addresses.split('\n').sort().join('\n'))
  const blocks = await underMatch(host)
  const settings = { ...Object.fromEntries(found), ...(blocks === null ? {} : { underMatch: blocks }) }
  const banner = found.get('banner') ?? 'none'
  if (!PATH.test(banner) || !host.tree.exists(banner)) return settings
  return { ...settings, bannerText: await readText(host, banner, BANNER_BYTES_MAX) }
}

const BANNER_BYTES_MAX = 16 * 1024
