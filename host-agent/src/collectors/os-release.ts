import type { RootedTree } from '../rooted-tree.ts'

/** `os` is the name that people read, `nixos_version` is VERSION as in the original, or else VERSION_ID. */
export async function collectOsRelease(
  tree: RootedTree,
): Promise<{ os: string | null; nixos_version: string | null }> {
  const text = (await tree.text('/etc/os-release')) ?? (await tree.text('/usr/lib/os-release'))
  const values = parseOsRelease(text ?? '')
  return {
    os: values.get('PRETTY_NAME') ?? values.get('NAME') ?? null,
    nixos_version: values.get('VERSION') ?? values.get('VERSION_ID') ?? null,
  }
}

/** os-release(5): shell assignments, quoted or not. */
export function parseOsRelease(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^([A-Z0-9_]+)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S*))\s*$/.exec(line)
    if (match === null) continue
    const [, name = '', double, single, bare] = match
    values.set(name, double?.replace(/\\(.)/g, '$1') ?? single ?? bare ?? '')
  }
  return values
}
