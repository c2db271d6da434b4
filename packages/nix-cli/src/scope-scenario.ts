// Run by systemd-scope.test.ts, under a systemd of its own where the machine has none: prints what real scopes did as JSON.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storePath } from '@crystal-forge/protocol'
import { type Build, type BuildOutcome, build, isolationAvailable } from './build.ts'
import { buildEnvironment } from './nix-environment.ts'
import { type Command, runCommand } from './run-command.ts'
import { runInScope, type Scope, type ScopedOutcome, type ScopeLimits } from './systemd-scope.ts'
import { testNix } from './test-nix.ts'

export type ScopeReport = {
  available: unknown
  again: ScopedOutcome
  code: ScopedOutcome
  oom: ScopedOutcome
  timeout: ScopedOutcome
  runtime: ScopedOutcome
  runtimeAgain: ScopedOutcome
  badProperty: ScopedOutcome
  aborted: ScopedOutcome
  escapee: unknown
  leftover: unknown
  /** Null without Nix. */
  builds:
    | (Record<'inScope' | 'oom' | 'runtime' | 'cancelled' | 'failed', BuildOutcome> & { cgroup: string })
    | null
}

const [directory = '', nonce = ''] = process.argv.slice(2)
const nix = await testNix()
const scope = (unit: string, limits: ScopeLimits): Scope => ({
  unit: `${unit}-${nonce}`,
  slice: 'nixbuilds.slice',
  limits,
  directory,
})
const sh = (script: string, more: Partial<Command> = {}): Command => ({
  program: '/bin/sh',
  args: ['-c', script],
  env: { PATH: '/usr/bin:/bin' },
  timeoutMs: 20_000,
  ...more,
})

// Grows until something stops it; the output of the last command keeps dash from replacing itself.
const EAT_MEMORY = 'x=0123456789abcdef; while true; do x=$x$x; done; echo'

async function builds(): Promise<ScopeReport['builds'] | null> {
  if (nix.kind === 'none') return null
  const env = buildEnvironment(nix.setup(directory), {
    sandbox: { kind: 'off', reason: 'the builder is asked for its cgroup' },
    substituters: [],
    trustedPublicKeys: [],
    maxJobs: 1,
    cores: 1,
    buildUsersGroup: '',
  })
  const call = { env, store: nix.store, timeoutMs: 60_000 }
  const run = async (
    name: string,
    script: string,
    limits: ScopeLimits,
    more: Partial<Build> = {},
  ): Promise<BuildOutcome> => {
    const file = join(directory, `${name}.nix`)
    writeFileSync(
      file,
      `derivation { name = "${name}"; system = builtins.currentSystem; builder = "/bin/sh"; nonce = "${nonce}"; PATH = "/usr/bin:/bin"; args = [ "-c" ''${script}'' ]; }`,
    )
    const drv = await runCommand({ ...sh(''), program: 'nix-instantiate', args: [file], env })
    const drvPath = storePath(drv.kind === 'exited' ? drv.stdout.trim() : '')
    const isolation = { kind: 'scope', scope: scope(name, limits) } as const
    return build({ drvPath, call, maxSilentSec: 0, timeoutSec: 0, isolation, gcRoot: null, ...more })
  }
  const inScope = await run(
    'in-scope',
    'while read -r line; do echo "$line"; done < /proc/self/cgroup > $out',
    { memoryMax: '256M', tasksMax: 100 },
  )
  const abort = new AbortController()
  const onLogLine = (line: string): unknown => line === 'begun' && abort.abort()
  return {
    inScope,
    cgroup: inScope.kind === 'built' ? readFileSync(inScope.outputs[0]?.path ?? '', 'utf8') : '',
    oom: await run('oom', EAT_MEMORY, { memoryMax: '64M', properties: ['MemorySwapMax=0'] }),
    runtime: await run('runtime', 'exec sleep 987654', { runtimeMaxSec: 1 }),
    cancelled: await run(
      'cancelled',
      'echo begun; exec sleep 987654',
      { memoryMax: '256M' },
      { call: { ...call, signal: abort.signal }, onLogLine },
    ),
    failed: await run('failed', 'echo telling words >&2; exit 3', { memoryMax: '256M' }),
  }
}

/** A process that leaves its group and session is still in the scope. */
async function escapee(): Promise<{ outcome: unknown; left: number }> {
  const script = `setsid sleep 9876543 & echo begun >&2; wait`
  const abort = new AbortController()
  const outcome = await runInScope(
    scope('escapee', {}),
    sh(script, { signal: abort.signal, onStderrLine: () => abort.abort() }),
  )
  const left = readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('9876543\0')
    } catch {
      return false
    }
  }).length
  return { outcome, left }
}

async function leftover(): Promise<{ code: unknown; active: string }> {
  const { outcome } = await runInScope(
    scope('leftover', {}),
    sh('setsid sleep 9876542 > /dev/null 2>&1 < /dev/null & exit 0'),
  )
  const state = await runCommand({
    ...sh(''),
    program: 'systemctl',
    args: ['is-active', `leftover-${nonce}.scope`],
  })
  return {
    code: outcome.kind === 'exited' ? outcome.code : outcome.kind,
    active: state.kind === 'exited' ? state.stdout.trim() : state.kind,
  }
}

const report: ScopeReport = {
  available: await isolationAvailable({ kind: 'local' }, { uid: process.getuid?.() ?? -1 }),
  code: await runInScope(scope('code', { cpuQuotaPercent: 100 }), sh('echo out; echo err >&2; exit 7')),
  again: await runInScope(scope('code', {}), sh('exit 0')),
  oom: await runInScope(
    scope('oom-plain', { memoryMax: '32M', properties: ['MemorySwapMax=0'] }),
    sh(EAT_MEMORY),
  ),
  timeout: await runInScope(scope('timeout', {}), sh('sleep 987654', { timeoutMs: 500 })),
  runtime: await runInScope(scope('runtime-plain', { runtimeMaxSec: 1 }), sh('sleep 987654')),
  runtimeAgain: await runInScope(scope('runtime-plain', {}), sh('exit 0')),
  badProperty: await runInScope(scope('bad', { properties: ['IOWeight=banana'] }), sh('exit 0')),
  aborted: await runInScope(scope('aborted', {}), sh('exit 0', { signal: AbortSignal.abort() })),
  escapee: await escapee(),
  leftover: await leftover(),
  builds: await builds(),
}
process.stdout.write(`REPORT ${JSON.stringify(report)}\n`)
