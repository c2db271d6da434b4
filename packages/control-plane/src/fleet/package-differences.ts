import { namePart, parseDrvName, type StorePath } from '@crystal-forge/protocol'

export type PackageDifferences = {
  readonly added: readonly { readonly name: string; readonly versions: readonly string[] }[]
  readonly removed: readonly { readonly name: string; readonly versions: readonly string[] }[]
  readonly changed: readonly {
    readonly name: string
    readonly from: readonly string[]
    readonly to: readonly string[]
  }[]
  /** Paths of the second closure that are new although their name and version are not. */
  readonly rebuiltPaths: number
}

/**
 * Compares two closures by package name and version, both read off the store paths as Nix reads them. An output suffix such
 * as `-lib` is not part of a version. A path without a version counts as its name with the version "". Every list is
 * ordered by name and every list of versions by version, so equal closures always give equal answers.
 */
export function packageDifferences(
  before: readonly StorePath[],
  after: readonly StorePath[],
): PackageDifferences {
  const from = versionsByName(before)
  const to = versionsByName(after)
  const names = [...new Set([...from.keys(), ...to.keys()])].sort(byCodeUnits)
  const rows = names.map((name) => ({ name, from: sorted(from.get(name)), to: sorted(to.get(name)) }))
  const known = new Set(before)
  return {
    added: rows.filter((row) => row.from.length === 0).map(({ name, to: versions }) => ({ name, versions })),
    removed: rows
      .filter((row) => row.to.length === 0)
      .map(({ name, from: versions }) => ({ name, versions })),
    changed: rows.filter((row) => row.from.length > 0 && row.to.length > 0 && !equal(row.from, row.to)),
    rebuiltPaths: new Set(after.filter((path) => !known.has(path) && isKnown(path, from))).size,
  }
}

function versionsByName(paths: readonly StorePath[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const path of paths) {
    const { name, version } = nameAndVersion(path)
    const versions = found.get(name) ?? new Set()
    found.set(name, versions.add(version))
  }
  return found
}

function nameAndVersion(path: StorePath): { readonly name: string; readonly version: string } {
  return parseDrvName(namePart(path).replace(OUTPUT_SUFFIX, ''))
}

function isKnown(path: StorePath, versions: Map<string, Set<string>>): boolean {
  const { name, version } = nameAndVersion(path)
  return versions.get(name)?.has(version) ?? false
}

function sorted(versions: Set<string> | undefined): string[] {
  return [...(versions ?? [])].sort(byVersion)
}

function equal(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((version, at) => version === right[at])
}

function byCodeUnits(left: string, right: string): number {
  if (left === right) return 0
  return left < right ? -1 : 1
}

/** Numbers inside versions compare as numbers: 1.9 comes before 1.10. */
function byVersion(left: string, right: string): number {
  const a = left.split(/[.-]/)
  const b = right.split(/[.-]/)
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const order = byPart(a[at] ?? '', b[at] ?? '')
    if (order !== 0) return order
  }
  return a.length - b.length || byCodeUnits(left, right)
}

function byPart(left: string, right: string): number {
  const numbers = /^[0-9]{1,15}$/
  if (numbers.test(left) && numbers.test(right) && Number(left) !== Number(right))
    return Number(left) - Number(right)
  return byCodeUnits(left, right)
}

/** The names that nixpkgs gives to the outputs of one derivation. */
const OUTPUT_SUFFIX = /-(?:bin|debug|dev|devdoc|devman|dist|doc|info|lib|man|out|static)$/
