import type { RootedTree } from '../rooted-tree.ts'

/** The UUID of the file system on `/`; null where it has none, as on tmpfs and ZFS. */
export async function collectRootUuid(tree: RootedTree): Promise<string | null> {
  const source = parseRootSource((await tree.text('/proc/self/mountinfo')) ?? '')
  const device = source === null ? null : tree.resolve(source)
  if (device === null) return null
  const uuids = (await tree.list(BY_UUID)) ?? []
  return uuids.find((uuid) => tree.resolve(`${BY_UUID}/${uuid}`) === device) ?? null
}

/** proc_pid_mountinfo(5): the source of the last mount on `/`, when it is a device. */
export function parseRootSource(mountinfo: string): string | null {
  const sources = mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const source = after.split(' ')[1]
    return before.split(' ')[4] === '/' && source?.startsWith('/dev/') === true ? [source] : []
  })
  return sources.at(-1) ?? null
}

const BY_UUID = '/dev/disk/by-uuid'
