import { CannotCollect, type Collector, inOrder } from './collector.ts'
import { readText } from './read-text.ts'

/** Where persistent file systems and swap lie, by `lsblk`: below a device that dm-crypt opened, or not. */
export const blockDevices: Collector = async (host) => {
  const mounts = (await readText(host, '/proc/self/mountinfo'))
    .split('\n')
    .map((line) => line.split(' - ')[1] ?? '')
  const own = mounts.map((mount) => mount.split(' ')[0] ?? '').find((type) => OWN_ENCRYPTION.has(type))
  if (own !== undefined)
    throw new CannotCollect('unsupported', `whether ${own} encrypts is not told by block devices`)
  return parseLsblk(await host.run('lsblk', ['--json', '--output', 'NAME,TYPE,FSTYPE,MOUNTPOINTS']))
}

export function parseLsblk(output: string): { unencrypted: string[]; encrypted: string[] } {
  const found = { unencrypted: new Set<string>(), encrypted: new Set<string>() }
  const visit = (device: unknown, above: boolean, depth: number): void => {
    if (!isObject(device) || depth > DEPTH_MAX) throw unreadable()
    const encrypted = above || device['type'] === 'crypt'
    const volatile = /^(zram|ram)[0-9]+$/.test(String(device['name']))
    for (const mount of listOf(device['mountpoints'])) {
      if (typeof mount !== 'string' || volatile || IS_BOOT.test(mount)) continue
      found[encrypted ? 'encrypted' : 'unencrypted'].add(mount)
    }
    for (const child of listOf(device['children'])) visit(child, encrypted, depth + 1)
  }
  for (const device of devicesOf(output)) visit(device, false, 0)
  return { unencrypted: inOrder(found.unencrypted), encrypted: inOrder(found.encrypted) }
}

function devicesOf(output: string): readonly unknown[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(output)
  } catch {
    throw unreadable()
  }
  if (!isObject(parsed) || !Array.isArray(parsed['blockdevices'])) throw unreadable()
  return parsed['blockdevices']
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

const unreadable = () => new CannotCollect('unreadable', 'lsblk printed no list of devices')

/** The firmware reads it before anything can be opened. */
const IS_BOOT = /^\/(boot|efi)(\/|$)/
/** These keep their own devices and their own keys. */
const OWN_ENCRYPTION: ReadonlySet<string> = new Set(['zfs', 'bcachefs'])
const DEPTH_MAX = 16
