import { mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** The part of a NixOS root directory that the host agent looks at, on a machine that is not NixOS. */
export type HostTree = {
  readonly root: string
  /** What `nixos-rebuild switch` does to the links: a new generation, and current points to it. */
  switchTo(storePath: string): Promise<void>
}

/** Makes a tree with the files of one host; it runs nothing until `switchTo`. */
export async function hostTree(root: string, hostname: string): Promise<HostTree> {
  for (const [path, text] of Object.entries(files(hostname))) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  await mkdir(join(root, 'run'), { recursive: true })
  const profiles = join(root, 'nix/var/nix/profiles')
  await mkdir(profiles, { recursive: true })
  let generation = 0
  return {
    root,
    async switchTo(storePath) {
      generation += 1
      const link = `system-${generation}-link`
      await replaceLink(storePath, join(profiles, link))
      await replaceLink(link, join(profiles, 'system'))
      if (generation === 1) await replaceLink(storePath, join(root, 'run/booted-system'))
      await replaceLink(storePath, join(root, 'run/current-system'))
    },
  }
}

/** Atomic, as `ln -sfn` by way of a temporary name is. */
async function replaceLink(target: string, link: string): Promise<void> {
  const temporary = `${link}.new`
  await symlink(target, temporary)
  await rename(temporary, link)
}

function files(hostname: string): Readonly<Record<string, string>> {
  return {
    'etc/hostname': `${hostname}\n`,
    'etc/os-release':
      'NAME=NixOS\nID=nixos\nVERSION="25.11 (Xantusia)"\nVERSION_ID="25.11"\nPRETTY_NAME="NixOS 25.11 (Xantusia)"\n',
    'proc/sys/kernel/hostname': `${hostname}\n`,
    'proc/sys/kernel/osrelease': '6.6.30\n',
    'proc/sys/kernel/random/boot_id': '6c1f0b60-5d0c-4f7e-9c58-1f2a3b4c5d6e\n',
    'proc/sys/crypto/fips_enabled': '0\n',
    'proc/meminfo': 'MemTotal:        8052340 kB\n',
    'proc/cpuinfo':
      'processor\t: 0\nmodel name\t: Example CPU\nmicrocode\t: 0x1\n\nprocessor\t: 1\nmodel name\t: Example CPU\nmicrocode\t: 0x1\n',
    'sys/class/dmi/id/product_uuid': '11111111-2222-3333-4444-555555555555\n',
    'sys/class/net/eth0/address': '52:54:00:12:34:56\n',
  }
}
