import os from 'node:os'
import { type Fingerprint, isHostname } from '@crystal-forge/protocol'
import { collectBoard } from './collectors/board.ts'
import { collectFailedUnits } from './collectors/failed-units.ts'
import { collectMemoryBytes } from './collectors/memory.ts'
import { collectNetwork } from './collectors/network.ts'
import { collectOsRelease } from './collectors/os-release.ts'
import { collectProcessor } from './collectors/processor.ts'
import { collectProtection } from './collectors/protection.ts'
import { collectRevision } from './collectors/revision.ts'
import { collectRootUuid } from './collectors/root-file-system.ts'
import { readSystemPaths, type SystemPaths } from './collectors/system-paths.ts'
import type { RootedTree } from './rooted-tree.ts'

/** One look at the host. */
export type Observation = {
  readonly hostname: string
  readonly paths: SystemPaths & { readonly current: string }
  readonly bootId: string | null
  readonly uptimeSeconds: number | null
  readonly revision: string | null
  readonly failedUnits: string[] | undefined
  readonly fingerprint: Fingerprint
}
export type Observed =
  | { readonly ok: true; readonly observation: Observation }
  | { readonly ok: false; readonly because: string }

/** Reads the host, or the prepared tree in its place. Nothing inside a tree is executed. */
export async function observe(tree: RootedTree): Promise<Observed> {
  const hostname = await readHostname(tree)
  if (hostname === null) {
    return {
      ok: false,
      because: `no host name in ${tree.root}: /proc/sys/kernel/hostname and /etc/hostname have none`,
    }
  }
  const paths = readSystemPaths(tree)
  const { current } = paths
  if (current === null) {
    return {
      ok: false,
      because: `run/current-system in ${tree.root} does not lead to a store path; this is no NixOS (set client.root to observe a prepared tree)`,
    }
  }
  const [bootId, uptime, revision, failedUnits, fingerprint] = await Promise.all([
    tree.text('/proc/sys/kernel/random/boot_id'),
    tree.text('/proc/uptime'),
    collectRevision(tree),
    collectFailedUnits(tree),
    collectFingerprint(tree),
  ])
  const uptimeSeconds = /^([0-9]{1,12})(?:\.|\s|$)/.exec(uptime ?? '')?.[1]
  return {
    ok: true,
    observation: {
      hostname,
      paths: { ...paths, current },
      bootId: shortLine(bootId, 64),
      uptimeSeconds: uptimeSeconds === undefined ? null : Number(uptimeSeconds),
      revision,
      failedUnits,
      fingerprint,
    },
  }
}

export async function readHostname(tree: RootedTree): Promise<string | null> {
  for (const file of ['/proc/sys/kernel/hostname', '/etc/hostname']) {
    const name = await tree.text(file)
    if (isHostname(name)) return name
  }
  return null
}

async function collectFingerprint(tree: RootedTree): Promise<Fingerprint> {
  const addresses = tree.root === '/' ? os.networkInterfaces() : null
  const [release, kernel, memory_bytes, processor, board, rootfs_uuid, network, protection] =
    await Promise.all([
      collectOsRelease(tree),
      tree.text('/proc/sys/kernel/osrelease'),
      collectMemoryBytes(tree),
      collectProcessor(tree),
      collectBoard(tree),
      collectRootUuid(tree),
      collectNetwork(tree, addresses),
      collectProtection(tree),
    ])
  const { network_interfaces, ...primary } = network
  return {
    os: shortLine(release.os, 200),
    kernel: shortLine(kernel, 200),
    nixos_version: shortLine(release.nixos_version, 200),
    memory_bytes,
    cpu_cores: processor.cpu_cores,
    cpu_brand: shortLine(processor.cpu_brand, 200),
    cpu_microcode: shortLine(processor.cpu_microcode, 64),
    board_serial: shortLine(board.board_serial, 200),
    product_uuid: shortLine(board.product_uuid, 64),
    rootfs_uuid: shortLine(rootfs_uuid, 64),
    chassis_serial: shortLine(board.chassis_serial, 200),
    bios_version: shortLine(board.bios_version, 200),
    network_interfaces,
    ...primary,
    ...protection,
  }
}

/** A text that a report can hold; firmware and files may hold anything. */
function shortLine(text: string | null, charactersMax: number): string | null {
  if (text === null) return null
  const line = text
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, charactersMax)
  // The cut may have halved a pair.
  return line.replace(/[\uD800-\uDBFF]$/, '') || null
}
