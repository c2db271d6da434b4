import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { copyTo, describeOutcome, runCommand } from '@crystal-forge/nix-cli'
import { backoffMs, type StorePath } from '@crystal-forge/protocol'
import type { Destination } from './cache-destination.ts'
import type { JobContext } from './job-context.ts'
import { storeCall } from './nix-calls.ts'

/**
 * Sends a closure to the second destination of the configuration. The control plane's cache has it already and hosts are
 * served from there, so a destination that stays away is said in the log of the build and does not fail it.
 * @returns a line for that log; undefined when there is nothing to say.
 */
export async function pushElsewhere(context: JobContext, outPath: StorePath): Promise<string | undefined> {
  const { destination } = context.machine.config
  if (destination === null) return undefined
  const { filter } = destination
  if (filter !== null && !filter.some((part) => outPath.includes(part)))
    return `not copied to ${nameOf(destination)}: ${outPath} matches none of cache.push_filter`
  const { signal } = context.lease
  for (let attempt = 1; ; attempt++) {
    context.lease.report({ phase: 'copy', done: 0, total: 1, unit: 'closures', note: nameOf(destination) })
    const why = await send(context, destination, outPath)
    if (why === undefined) return `copied to ${nameOf(destination)}`
    context.log.warn({ job: context.document.job, attempt, why }, 'a closure could not be copied')
    if (attempt === ATTEMPTS_MAX || signal.aborted) return `NOT copied to ${nameOf(destination)}: ${why}`
    const waitMs = backoffMs({ attempt, baseMs: 2000, maxMs: 30_000, random: Math.random() })
    await sleep(waitMs, undefined, { signal }).catch(() => {})
  }
}

/** @returns why it did not arrive. */
async function send(
  context: JobContext,
  destination: Destination,
  outPath: StorePath,
): Promise<string | undefined> {
  switch (destination.kind) {
    case 'nix': {
      const call = storeCall(context)
      const env = { ...call.env, ...sshOptions(context) }
      const copied = await copyTo(
        { ...call, env, timeoutMs: destination.timeoutMs },
        { cache: destination.url, path: outPath },
      )
      return copied.kind === 'failed' ? copied.message : undefined
    }
    case 'attic':
      return pushToAttic(context, destination, outPath)
  }
}

/** Attic reads its token from a file of its own; on a command line everybody could read it. */
async function pushToAttic(
  context: JobContext,
  destination: Extract<Destination, { kind: 'attic' }>,
  outPath: StorePath,
): Promise<string | undefined> {
  const { nix, config } = context.machine
  const home = join(config.state_directory, 'attic')
  await mkdir(join(home, 'attic'), { recursive: true, mode: 0o700 })
  const token = (await readFile(destination.tokenFile, 'utf8')).trim()
  const file = join(home, 'attic', 'config.toml')
  const partial = `${file}.${context.document.job}`
  const text = `[servers.${SERVER}]\nendpoint = ${JSON.stringify(destination.endpoint)}\ntoken = ${JSON.stringify(token)}\n`
  await writeFile(partial, text, { mode: 0o600 })
  await rename(partial, file)
  const outcome = await runCommand({
    program: 'attic',
    args: [
      'push',
      '--jobs',
      String(destination.jobs),
      ...(destination.ignoreUpstreamFilter ? ['--ignore-upstream-cache-filter'] : []),
      '--',
      `${SERVER}:${destination.cacheName}`,
      outPath,
    ],
    env: { PATH: nix.path, HOME: nix.home, XDG_CONFIG_HOME: home, LC_ALL: 'C' },
    timeoutMs: destination.timeoutMs,
    signal: context.lease.signal,
  })
  return outcome.kind === 'exited' && outcome.code === 0 ? undefined : describeOutcome('attic', outcome)
}

/** The paths are checked by the configuration to be free of what a shell reads. */
function sshOptions({ machine }: JobContext): Readonly<Record<string, string>> {
  const { ssh_key_path: key, ssh_known_hosts_path: hosts } = machine.config.auth
  const options = ['-F', '/dev/null', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=yes']
  if (key !== undefined) options.push('-o', 'IdentitiesOnly=yes', '-i', key)
  if (hosts !== undefined) options.push('-o', `UserKnownHostsFile=${hosts}`)
  return { NIX_SSHOPTS: options.join(' ') }
}

/** For people; the parameters name a key file. */
function nameOf(destination: Destination): string {
  return destination.kind === 'nix'
    ? destination.url.replace(/\?.*$/, '')
    : `${destination.endpoint} (${destination.cacheName})`
}

const ATTEMPTS_MAX = 3
const SERVER = 'crystal-forge'
