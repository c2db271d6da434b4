import { promisify } from 'node:util'
import type { RootedTree } from '../rooted-tree.ts'

/**
 * Units that systemd calls failed, sorted. Undefined where systemd cannot be asked: it does not run, does not answer, or the tree is
 * not the running system.
 */
export async function collectFailedUnits(tree: RootedTree): Promise<string[] | undefined> {
  if (tree.root !== '/' || !tree.exists('/run/systemd/system')) return undefined
  try {
    const { execFile } = await import('node:child_process')
    const { stdout } = await promisify(execFile)(
      'systemctl',
      ['list-units', '--state=failed', '--all', '--plain', '--full', '--no-legend', '--no-pager'],
      { timeout: 10_000, maxBuffer: 1024 * 1024, env: { PATH, LC_ALL: 'C' } },
    )
    return parseUnits(stdout)
  } catch {
    return undefined
  }
}

/** The first word of each line, after the bullet that some versions print. */
export function parseUnits(output: string): string[] {
  return output
    .split('\n')
    .map((line) => /^\s*(?:[^\p{L}\p{N}\s_-]\s+)?(\S{1,256})\s/u.exec(line)?.[1])
    .filter((unit) => unit !== undefined)
    .sort()
    .slice(0, UNITS_MAX)
}

const PATH = '/run/current-system/sw/bin:/run/current-system/systemd/bin:/usr/bin:/bin'
/** `failed_units` of a report. */
const UNITS_MAX = 256
