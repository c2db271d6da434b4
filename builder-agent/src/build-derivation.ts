import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type BuildOutcome,
  build,
  closureOf,
  type Isolation,
  type NixCall,
  type PathInfo,
} from '@crystal-forge/nix-cli'
import {
  type BuildPayload,
  buildStatementOf,
  closureDigest,
  envelopeJson,
  type JobResult,
  parseStorePath,
  type StorePath,
  signAttestation,
} from '@crystal-forge/protocol'
import { failed, logTailOf, oneLine } from './failed.ts'
import { fetchDerivations } from './fetch-derivations.ts'
import type { JobContext } from './job-context.ts'
import { scopeUnit } from './leftover-scopes.ts'
import { limitMs, storeCall } from './nix-calls.ts'
import { pruneRoots } from './prune-roots.ts'
import { pushClosure } from './push-closure.ts'
import { pushElsewhere } from './push-elsewhere.ts'
import { repositoryName } from './repository-name.ts'

/**
 * Builds one derivation under limits, pushes its closure to the cache and attests what was made. The gc root stays
 * until the roots are pruned, so that the scan finds the path.
 */
export async function buildDerivation(context: JobContext, work: BuildPayload): Promise<JobResult['result']> {
  const drvPath = parseStorePath(work.drv_path)
  const outPath = parseStorePath(work.out_path)
  if (drvPath === null || outPath === null)
    return failed('infra', 'the job names something that is no store path')
  const startedAt = new Date()
  const call = storeCall(context)
  const fetched = await fetchDerivations(context, work, { call, drvPath })
  if (fetched !== undefined) return fetched
  const outcome = await runBuild(context, {
    call,
    drvPath,
    note: work.configuration,
    memoryFactor: work.memory_factor,
  })
  if (outcome.kind === 'failed') return failed(outcome.class, outcome.message, outcome.log)
  const output = outcome.outputs.find(({ path }) => path === outPath)
  if (output === undefined)
    return failed(
      'hash_mismatch',
      `the build made ${outcome.outputs.map(({ path }) => path).join(', ')}, not ${outPath}`,
    )
  const closure = await closureOf(call, outPath)
  if (closure.kind === 'failed') return failed(closure.class, closure.message)
  if (closure.kind === 'absent') return failed('infra', `${outPath} was built and is not in the store`)
  const infos = [...closure.infos.values()]
  const pushed = await pushClosure(context, { outPath, infos })
  if (pushed.kind === 'failed') return failed(pushed.class, pushed.why, outcome.log)
  const elsewhere = await pushElsewhere(context, outPath)
  const log = elsewhere === undefined ? outcome.log : `${outcome.log}${elsewhere}\n`
  return succeeded(context, work, { outPath, infos, pushed, startedAt, log })
}

type Made = {
  readonly outPath: StorePath
  readonly infos: readonly PathInfo[]
  readonly pushed: { readonly paths: number; readonly bytes: number }
  readonly startedAt: Date
  readonly log: string
}

function succeeded(context: JobContext, work: BuildPayload, made: Made): JobResult['result'] {
  const { machine, document, controlPlane } = context
  const top = made.infos.find(({ path }) => path === made.outPath)
  if (top === undefined) return failed('infra', `${made.outPath} is not in its own closure`)
  const digest = closureDigest(made.infos.map((info) => ({ ...info, storePath: info.path })))
  const finishedAt = new Date()
  const statement = buildStatementOf({
    repository: repositoryName(work.source),
    revision: work.rev,
    attribute: `nixosConfigurations.${work.configuration}`,
    drvPath: work.drv_path,
    outputs: [{ path: made.outPath, narHash: top.narHash }],
    closureSha256: digest.sha256,
    builderKeyId: controlPlane.keyId,
    nixVersion: machine.nixVersion,
    jobId: document.job,
    startedAt: made.startedAt,
    finishedAt,
  })
  return {
    outcome: 'succeeded',
    succeeded: {
      kind: 'build',
      out_path: made.outPath,
      nar_hash: top.narHash,
      nar_size: top.narSize,
      closure: {
        count: digest.count,
        nar_size: made.infos.reduce((sum, info) => sum + info.narSize, 0),
        sha256: digest.sha256,
      },
      pushed: { paths: made.pushed.paths, bytes: made.pushed.bytes },
      isolation:
        machine.isolation.kind === 'scope' ? 'scope' : `none: ${machine.isolation.reason}`.slice(0, 200),
      duration_ms: finishedAt.getTime() - made.startedAt.getTime(),
      attestation: envelopeJson.parse(signAttestation(statement, machine.seed)),
    },
    ...logTailOf(made.log),
  }
}

export type BuildRun = {
  readonly call: NixCall
  readonly drvPath: StorePath
  /** For who waits: what is being built. */
  readonly note: string
  /** How many times the usual memory it may use. */
  readonly memoryFactor: number
}

/** Builds under the limits of the configuration. The outputs get a gc root named after the job. */
export async function runBuild(
  context: JobContext,
  { call, drvPath, note, memoryFactor }: BuildRun,
): Promise<BuildOutcome> {
  const { machine, lease, document } = context
  const roots = join(machine.config.state_directory, 'gc-roots')
  await mkdir(roots, { recursive: true })
  await pruneRoots(roots)
  let lines = 0
  const say = (last: string): void =>
    lease.report({ phase: 'build', done: lines, total: 0, unit: 'lines of log', note: oneLine(last, 300) })
  say(note)
  return build({
    drvPath,
    call,
    maxSilentSec: Math.round(machine.config.build.max_silent_time),
    timeoutSec: Math.round(machine.config.build.timeout),
    isolation: await isolationOf(context, memoryFactor),
    gcRoot: { directory: roots, name: document.job },
    onLogLine: (line) => {
      lines += 1
      say(line)
    },
  })
}

async function isolationOf({ machine, document }: JobContext, memoryFactor: number): Promise<Isolation> {
  if (machine.isolation.kind === 'none') return machine.isolation
  const directory = join(machine.config.state_directory, 'scopes')
  await mkdir(directory, { recursive: true })
  const limits = machine.config.build
  return {
    kind: 'scope',
    scope: {
      unit: scopeUnit(machine.tag, document),
      slice: 'crystal-forge-builds.slice',
      directory,
      limits: {
        memoryMax: multiplied(limits.systemd_memory_max, memoryFactor),
        cpuQuotaPercent: limits.systemd_cpu_quota,
        runtimeMaxSec: Math.round(limitMs(limits.timeout) / 1000) + 60,
        timeoutStopSec: limits.systemd_timeout_stop_sec,
        properties: limits.systemd_properties,
      },
    },
  }
}

/** A build that ran out of memory comes back with a factor; `infinity` stays what it is, and a share ends at the whole. */
export function multiplied(memory: string, factor: number): string {
  const [, amount, unit = ''] = /^([0-9]+)([KMGT%]?)$/.exec(memory) ?? []
  if (amount === undefined || factor === 1) return memory
  if (unit === '%') return `${Math.min(100, Math.floor(Number(amount) * factor))}%`
  const exponent = ['', 'K', 'M', 'G', 'T'].indexOf(unit)
  return BigInt(Math.floor(Number(amount) * 1024 ** exponent * factor)).toString()
}
