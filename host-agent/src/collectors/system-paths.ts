import { parseStorePath } from '@crystal-forge/protocol'
import type { RootedTree } from '../rooted-tree.ts'

/** What the links of a NixOS system lead to; null is a link that is missing or leads to no store path. */
export type SystemPaths = {
  readonly current: string | null
  readonly booted: string | null
  readonly profile: string | null
  /** 42 when the profile is `system-42-link`. */
  readonly generation: number | null
}

/** Reads links only, so that it can run inside the event that says a link has changed. */
export function readSystemPaths(tree: RootedTree): SystemPaths {
  const name = tree.linkTarget(PROFILE)?.split('/').at(-1) ?? ''
  const generation = /^system-([0-9]{1,9})-link$/.exec(name)?.[1]
  return {
    current: storePathBehind(tree, '/run/current-system'),
    booted: storePathBehind(tree, '/run/booted-system'),
    profile: storePathBehind(tree, PROFILE),
    generation: generation === undefined ? null : Number(generation),
  }
}

export function samePaths(a: SystemPaths, b: SystemPaths): boolean {
  return (
    a.current === b.current &&
    a.booted === b.booted &&
    a.profile === b.profile &&
    a.generation === b.generation
  )
}

/** Stops at the first store path: what it holds need not be there, and its own links do not matter. */
function storePathBehind(tree: RootedTree, link: string): string | null {
  let at = link
  for (let steps = 0; steps < STEPS_MAX; steps++) {
    const target = tree.linkTarget(at)
    if (target === null) return null
    at = target.startsWith('/') ? target : `${at.slice(0, at.lastIndexOf('/'))}/${target}`
    if (at.startsWith('/nix/store/')) return parseStorePath(at)
  }
  return null
}

const PROFILE = '/nix/var/nix/profiles/system'
/** system -> system-42-link -> store path; a few more for systems that move their profiles. */
const STEPS_MAX = 8
