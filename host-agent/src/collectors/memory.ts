import type { RootedTree } from '../rooted-tree.ts'

/** MemTotal in bytes: the kernel prints KiB and calls them kB. */
export async function collectMemoryBytes(tree: RootedTree): Promise<number | null> {
  const kibibytes = /^MemTotal:\s+([0-9]{1,12}) kB$/m.exec((await tree.text('/proc/meminfo')) ?? '')?.[1]
  return kibibytes === undefined ? null : Number(kibibytes) * 1024
}
