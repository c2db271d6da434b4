import { runCommand } from '@crystal-forge/nix-cli'

/** The name of the scope of one attempt, without `.scope`. The tag tells the builders of one machine apart. */
export function scopeUnit(tag: string, job: { readonly job: string; readonly fence: number }): string {
  return `crystal-forge-build-${tag}-${job.job}-${job.fence}`
}

/**
 * Stops builds that an earlier life of this builder started and that outlived it: nobody waits for them any more, and
 * they would run beside the next attempt.
 * @returns the units that were stopped.
 */
export async function stopLeftoverScopes(tag: string, path: string): Promise<readonly string[]> {
  const units = await leftover(tag, path)
  if (units.length === 0) return []
  await systemctl(path, ['stop', '--', ...units])
  // One that failed keeps its name until it is reset; one that is gone already cannot be.
  await systemctl(path, ['reset-failed', '--', ...units])
  return units
}

async function leftover(tag: string, path: string): Promise<readonly string[]> {
  const pattern = `${scopeUnit(tag, { job: '*', fence: 0 }).replace(/\*-0$/, '*')}.scope`
  const listed = await systemctl(path, [
    'list-units',
    '--all',
    '--plain',
    '--no-legend',
    '--full',
    '--',
    pattern,
  ])
  if (listed.kind !== 'exited' || listed.code !== 0) return []
  return listed.stdout
    .split('\n')
    .flatMap((line) => /^(crystal-forge-build-\S+\.scope)\s/.exec(line)?.[1] ?? [])
}

function systemctl(path: string, args: readonly string[]): ReturnType<typeof runCommand> {
  return runCommand({
    program: 'systemctl',
    args: ['--no-ask-password', '--no-pager', ...args],
    env: { PATH: path, LC_ALL: 'C' },
    timeoutMs: STOP_MS_MAX,
  })
}

/** systemd kills what has not stopped after TimeoutStopSec, ten minutes unless it is set. */
const STOP_MS_MAX = 660_000
