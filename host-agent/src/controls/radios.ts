import { CannotCollect, type Collector, type Host } from './collector.ts'
import { listIfAny, readText, readTextIfAny } from './read-text.ts'

/** Wireless interfaces that are up, and bluetooth controllers that rfkill does not block. */
export const radios: Collector = async (host) => {
  const interfaces = await listIfAny(host, '/sys/class/net')
  if (interfaces === null) throw new CannotCollect('absent', 'there is no /sys/class/net')
  const wireless = interfaces.filter((name) => host.tree.exists(`/sys/class/net/${name}/phy80211`))
  const up: string[] = []
  for (const name of wireless) {
    const flags = Number.parseInt(await readText(host, `/sys/class/net/${name}/flags`), 16)
    if ((flags & IFF_UP) !== 0) up.push(name)
  }
  const controllers = ((await listIfAny(host, '/sys/class/bluetooth')) ?? []).filter((name) =>
    /^hci[0-9]+$/.test(name),
  )
  const blocked = await blockedRadios(host)
  return { wlanUp: up, bluetoothUp: controllers.filter((name) => !blocked.has(name)) }
}

/** rfkill's `state`: 1 is on, 0 blocked by software, 2 by a switch. */
async function blockedRadios(host: Host): Promise<ReadonlySet<string>> {
  const blocked = new Set<string>()
  for (const one of (await listIfAny(host, '/sys/class/rfkill')) ?? []) {
    const read = async (file: string) =>
      (await readTextIfAny(host, `/sys/class/rfkill/${one}/${file}`))?.trim()
    const name = await read('name')
    if (name !== undefined && (await read('state')) !== '1') blocked.add(name)
  }
  return blocked
}

/** <linux/if.h> */
const IFF_UP = 0x1
