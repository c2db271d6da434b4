import { CannotCollect, type Collector, inOrder } from './collector.ts'
import { readText, readTextIfAny } from './read-text.ts'

/** Where persistent file systems and swap lie, by `lsblk`: below a device that dm-crypt opened, or not. */
export const blockDevices: Collector = async (host) => {
  const mounts = parseMounts(await readText(host, '/proc/self/mountinfo'))
  const own = mounts.find(({ type }) => OWN_ENCRYPTION.has(type))
  if (own !== undefined)
    throw new CannotCollect('unsupported', `whether ${own.type} encrypts is not told by block devices`)
  const output = await host.run('lsblk', ['--json', '--output', 'NAME,TYPE,FSTYPE,MOUNTPOINTS'])
  const { unencrypted, encrypted, others } = parseLsblk(output)
  // lsblk leaves out a device that it cannot see, and what is not seen is not encrypted.
  const told = new Set([...unencrypted, ...encrypted, ...others])
  const missing = mounts.filter(({ source, at }) => source.startsWith('/dev/') && !told.has(at))
  const swaps = (await readTextIfAny(host, '/proc/swaps')) ?? ''
  if (missing.length > 0 || (/^\/dev\/(?!zram)\S+\s+partition/m.test(swaps) && !told.has(SWAP)))
    throw new CannotCollect('not_permitted', 'lsblk does not show every device in use')
  if (unencrypted.length + encrypted.length === 0)
    throw new CannotCollect('unreadable', 'lsblk shows no device with a file system in use')
  return { unencrypted, encrypted }
}

type Mount = { readonly at: string; readonly type: string; readonly source: string }

/** proc_pid_mountinfo(5): the mount point is the fifth field, type and source follow the dash. Space and backslash are octal. */
function parseMounts(mountinfo: string): readonly Mount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const at = before.split(' ')[4]
    const [type = '', source = ''] = after.split(' ')
    const plain = (text: string) =>
      text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))
    return at === undefined ? [] : [{ at: plain(at), type, source }]
  })
}

/** `others` are not judged: memory, and what the firmware reads. */
export function parseLsblk(output: string): Record<'unencrypted' | 'encrypted' | 'others', string[]> {
  const found = {
    unencrypted: new Set<string>(),
    encrypted: new Set<string>(),
    others: new Set<string>(),
  }
  const visit = (device: unknown, above: boolean, depth: number): void => {
    if (!isObject(device) || depth > DEPTH_MAX) throw unreadable()
    const encrypted = above || device['type'] === 'crypt'
    const volatile = /^(zram|ram)[0-9]+$/.test(String(device['name']))
    for (const mount of listOf(device['mountpoints'])) {
      if (typeof mount !== 'string') continue
      const judged = encrypted ? 'encrypted' : 'unencrypted'
      found[volatile || IS_BOOT.test(mount) ? 'others' : judged].add(mount)
    }
    for (const child of listOf(device['children'])) visit(child, encrypted, depth + 1)
  }
  for (const device of devicesOf(output)) visit(device, false, 0)
  return {
    unencrypted: inOrder(found.unencrypted),
    encrypted: inOrder(found.encrypted),
    others: inOrder(found.others),
  }
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

const SWAP = '[SWAP]'
/** The firmware reads it before anything can be opened. */
const IS_BOOT = /^\/(boot|efi)(\/|$)/
/** These keep their own devices and their own keys. */
const OWN_ENCRYPTION: ReadonlySet<string> = new Set(['zfs', 'bcachefs'])
const DEPTH_MAX = 16
