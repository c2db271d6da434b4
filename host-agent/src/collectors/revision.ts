import type { RootedTree } from '../rooted-tree.ts'

/**
 * `system.configurationRevision` of the running system. Nothing but the script `nixos-version` carries it; the script is read, not
 * run. Null when the configuration does not set it.
 */
export async function collectRevision(tree: RootedTree): Promise<string | null> {
  const script = await tree.text('/run/current-system/sw/bin/nixos-version')
  return parseRevision(script ?? '')
}

export function parseRevision(script: string): string | null {
  return /"configurationRevision" ?: ?"([A-Za-z0-9._+-]{1,100})"/.exec(script)?.[1] ?? null
}
