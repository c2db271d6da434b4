declare const brand: unique symbol

/** A checked path directly under `/nix/store`; only `storePath` and `parseStorePath` make one. */
export type StorePath = string & { readonly [brand]: 'StorePath' }

/** @throws RangeError when the text is not a store path. */
export function storePath(text: string): StorePath {
  const path = parseStorePath(text)
  if (path === null) throw new RangeError(`not a store path: ${JSON.stringify(text.slice(0, 300))}`)
  return path
}

/** The text as a store path, or null. The shape is the one of Nix: 32 digits of base 32, a dash, a name of 1 to 211 characters. */
export function parseStorePath(text: string): StorePath | null {
  return isStorePath(text) ? text : null
}

/** The store path of `<hash>-<name>` as narinfo files list it, or null. */
export function storePathOfBaseName(baseName: string): StorePath | null {
  return parseStorePath(`${STORE_DIRECTORY}/${baseName}`)
}

export function isDrvPath(path: StorePath): boolean {
  return path.endsWith('.drv')
}

/** The 32 characters that identify the path; the name of its narinfo file. */
export function hashPart(path: StorePath): string {
  return path.slice(HASH_START, HASH_START + 32)
}

/** What stands after the hash: `hello-2.12.1`. */
export function namePart(path: StorePath): string {
  return path.slice(HASH_START + 33)
}

/** `<hash>-<name>`, the path without the store directory. */
export function baseName(path: StorePath): string {
  return path.slice(HASH_START)
}

/**
 * Splits a derivation name as `builtins.parseDrvName` does: the version begins after the first dash that is not
 * followed by a letter. A name without one has an empty version.
 */
export function parseDrvName(name: string): { readonly name: string; readonly version: string } {
  const match = /-[^a-zA-Z]/.exec(name)
  if (match === null) return { name, version: '' }
  return { name: name.slice(0, match.index), version: name.slice(match.index + 1) }
}

/** The package name and version that a store path's name states; `.drv` is not part of the version. */
export function packageOf(path: StorePath): { readonly name: string; readonly version: string } {
  const name = namePart(path)
  return parseDrvName(isDrvPath(path) ? name.slice(0, -4) : name)
}

export const STORE_DIRECTORY = '/nix/store'

/** The shape in one pattern, for SQL, JSON schema and documentation. */
export const STORE_PATH_PATTERN: RegExp =
  /^\/nix\/store\/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+\-_?=][0-9A-Za-z+\-._?=]{0,210}$/

function isStorePath(text: string): text is StorePath {
  return STORE_PATH_PATTERN.test(text) && text.charAt(HASH_START + 33) !== '-'
}

const HASH_START = STORE_DIRECTORY.length + 1
