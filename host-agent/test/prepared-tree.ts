import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'

/** A directory that looks like the root of a NixOS host, for tests; its links are swapped as NixOS swaps them. */
export type PreparedTree = AsyncDisposable & {
  readonly root: string
  write(file: string, content: string | Uint8Array): Promise<void>
  link(link: string, target: string): Promise<void>
}

export const SYSTEM_A = '/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-web-1-25.11'
export const SYSTEM_B = '/nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-nixos-system-web-1-25.11'

export async function temporaryDirectory(): Promise<{ path: string } & AsyncDisposable> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'cf-host-agent-'))
  return { path: directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }) }
}

export async function preparedTree(): Promise<PreparedTree> {
  const directory = await temporaryDirectory()
  const root = directory.path
  const place = async (file: string) => {
    const full = path.join(root, file)
    await mkdir(path.dirname(full), { recursive: true })
    return full
  }
  const tree: PreparedTree = {
    root,
    async write(file, content) {
      await writeFile(await place(file), content)
    },
    async link(link, target) {
      const full = await place(link)
      await rm(`${full}.new`, { force: true })
      await symlink(target, `${full}.new`)
      await rename(`${full}.new`, full)
    },
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  }
  await tree.write('etc/hostname', 'web-1\n')
  await tree.write('proc/sys/kernel/osrelease', '6.12.60\n')
  await tree.write('proc/sys/kernel/random/boot_id', '6a7e7e5c-6f1d-4d0e-9c55-0d8cf5a3c001\n')
  await tree.write('proc/uptime', '1234.56 2345.67\n')
  await tree.write('proc/meminfo', 'MemTotal:       24683656 kB\nMemFree: 1 kB\n')
  await tree.link('run/current-system', SYSTEM_A)
  await tree.link('run/booted-system', SYSTEM_A)
  await tree.link('nix/var/nix/profiles/system-1-link', SYSTEM_A)
  await tree.link('nix/var/nix/profiles/system', 'system-1-link')
  return tree
}
