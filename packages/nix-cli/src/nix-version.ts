export type NixVersion = {
  readonly major: number
  readonly minor: number
  readonly patch: number
  /** As printed; store paths differ between versions, so this is part of every evaluation. */
  readonly text: string
}

/** Reads the line of `nix --version`: `nix (Nix) 2.26.3`, also with suffixes such as `2.18.0pre20230920`. Null when it is something else. */
export function parseNixVersion(output: string): NixVersion | null {
  const match = /^nix \([^)]*\) ((\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?\S*)\s*$/.exec(output)
  if (match === null) return null
  const [, text = '', major, minor, patch] = match
  return { major: Number(major), minor: Number(minor), patch: Number(patch ?? 0), text }
}

/** Flakes as they are used here exist since 2.4; what was measured is 2.8, 2.26 and 2.34. */
export function isSupported(version: NixVersion): boolean {
  return version.major > 2 || (version.major === 2 && version.minor >= 8)
}
