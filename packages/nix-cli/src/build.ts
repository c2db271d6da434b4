import { join } from 'node:path'
import { namePart, parseStorePath, type StorePath } from '@crystal-forge/protocol'
import { showDerivations } from './derivation.ts'
import { answerOf, type NixCall, nixStoreCommand } from './nix-call.ts'
import type { NixStore } from './nix-environment.ts'
import { nixErrorMessage, tailOf } from './nix-error.ts'
import { type CommandOutcome, describeOutcome, runCommand } from './run-command.ts'
import { runInScope, type Scope, type ScopedOutcome, systemdState } from './systemd-scope.ts'

export type Build = {
  readonly drvPath: StorePath
  /** `timeoutMs` is the last resort; Nix ends the build by itself after `timeoutSec`. */
  readonly call: NixCall
  /** Seconds without a line of output after which a builder is ended; 0 is no limit. */
  readonly maxSilentSec: number
  /** Seconds that one derivation may take; 0 is no limit. */
  readonly timeoutSec: number
  readonly isolation: Isolation
  /** A link that keeps the outputs from the garbage collector; the second output gets the suffix `-dev` or the like from Nix. */
  readonly gcRoot: { readonly directory: string; readonly name: string } | null
  readonly onLogLine?: (line: string) => void
}

/** Whether limits hold for the build. */
export type Isolation =
  | { readonly kind: 'scope'; readonly scope: Scope }
  | { readonly kind: 'none'; readonly reason: string }

export type BuildFailureClass = 'build' | 'oom' | 'timeout' | 'hash_mismatch' | 'infra' | 'cancelled'

export type BuildOutcome =
  | {
      readonly kind: 'built'
      readonly outputs: readonly { readonly name: string; readonly path: StorePath }[]
      readonly log: string
    }
  | {
      readonly kind: 'failed'
      readonly class: BuildFailureClass
      /** Begins with the name of the derivation that failed, and ends with its last lines. */
      readonly message: string
      readonly failedDerivation: StorePath | null
      /** The end of the log, at most 64 KiB. */
      readonly log: string
    }

/** Whether builds here can be limited by scopes, decided once for a machine. */
export async function isolationAvailable(
  store: NixStore,
  user: { readonly uid: number },
): Promise<{ readonly kind: 'scope' } | { readonly kind: 'none'; readonly reason: string }> {
  if (store.kind === 'daemon') {
    return {
      kind: 'none',
      reason: 'nix-daemon runs the builders in its own service, where limits of a build do not reach',
    }
  }
  if (user.uid !== 0) return { kind: 'none', reason: 'only root can make a scope with limits' }
  const systemd = await systemdState()
  return systemd.kind === 'running' ? { kind: 'scope' } : { kind: 'none', reason: systemd.reason }
}

/**
 * Builds a derivation that is in the store, with everything it needs. Every way to fail is an outcome; after a timeout or a cancellation
 * no builder is left. `nix build X.drv` is not used: newer versions of Nix take it for a plain path and build nothing.
 */
export async function build(request: Build): Promise<BuildOutcome> {
  const { outcome, oomKills } = await run(request)
  const log = tailOf(outcome.stderr, LOG_BYTES_MAX)
  if (outcome.kind === 'exited' && outcome.code === 0) return built(request, log)
  const failure = parseBuildFailure(outcome.stderr)
  const cause = classOf(outcome, { oomKills, failure })
  const failedDerivation = failure?.drvPath ?? null
  const message = await failureMessage(request, outcome, { cause, failure })
  return { kind: 'failed', class: cause, message, failedDerivation, log }
}

export type ParsedBuildFailure = {
  readonly drvPath: StorePath
  /** What Nix says about it, in one line: `builder failed with exit code 2`. */
  readonly reason: string
  /** What the words say; the only evidence when a daemon builds, because its exit codes do not come through. */
  readonly cause: 'build' | 'timeout' | 'hash_mismatch' | 'platform'
}

/** Finds the derivation that failed first by itself, not because of a dependency; null when Nix names none. Wordings of 2.8 to 2.34. */
export function parseBuildFailure(stderr: string): ParsedBuildFailure | null {
  const lines = stderr.split('\n')
  for (const [index, line] of lines.entries()) {
    const path = FAILED.exec(line)?.[1]
    const drvPath = path === undefined ? null : parseStorePath(path)
    if (drvPath === null) continue
    const detail = /Cannot build/.test(line)
      ? (lines[index + 1] ?? '').replace(/^\s*Reason: /, '').replace(/\.$/, '')
      : undefined
    if (detail !== undefined && /\d+ dependenc(y|ies) failed/.test(detail)) continue
    const reason = detail ?? reasonOf(line)
    return { drvPath, reason, cause: causeOf(line, reason) }
  }
  return null
}

/** What an end of `nix-store -r` means. Exit codes above 100 are Nix's own: 100 failed, +1 timed out, +2 hash mismatch, +8 not reproducible. */
export function classOf(
  outcome: CommandOutcome,
  evidence: { readonly oomKills: number | null; readonly failure: ParsedBuildFailure | null },
): BuildFailureClass {
  if (outcome.kind === 'cancelled' || outcome.kind === 'timeout') return outcome.kind
  if (evidence.oomKills !== null && evidence.oomKills > 0) return 'oom'
  if (outcome.kind !== 'exited') return 'infra'
  const { code } = outcome
  if (code === 101 || code === 103) return 'timeout'
  if (code === 102) return 'hash_mismatch'
  if (evidence.failure !== null && (code === 1 || code === 100 || code === 104)) {
    return evidence.failure.cause === 'platform' ? 'infra' : evidence.failure.cause
  }
  if (code === 1 && /^timed out after/.test(nixErrorMessage(outcome.stderr) ?? '')) return 'timeout'
  return code === 100 || code === 104 ? 'build' : 'infra'
}

async function run(request: Build): Promise<ScopedOutcome> {
  const { call, drvPath, gcRoot, isolation } = request
  const root = gcRoot === null ? [] : ['--add-root', join(gcRoot.directory, gcRoot.name)]
  const command = {
    ...nixStoreCommand(call, [
      '--realise',
      '--max-silent-time',
      String(request.maxSilentSec),
      '--timeout',
      String(request.timeoutSec),
      ...root,
      drvPath,
    ]),
    ...(request.onLogLine === undefined ? {} : { onStderrLine: request.onLogLine }),
  }
  switch (isolation.kind) {
    case 'scope':
      return runInScope(isolation.scope, command)
    case 'none':
      return { outcome: await runCommand(command), oomKills: null }
  }
}

async function built(request: Build, log: string): Promise<BuildOutcome> {
  const shown = await showDerivations(request.call, request.drvPath, { recursive: false })
  const outputs = shown.kind === 'failed' ? undefined : shown.derivations.get(request.drvPath)?.outputs
  if (outputs === undefined) {
    const message = shown.kind === 'failed' ? shown.message : `Nix does not describe ${request.drvPath}`
    return { kind: 'failed', class: 'infra', message, failedDerivation: null, log }
  }
  const named = [...outputs].flatMap(([name, path]) => (path === null ? [] : [{ name, path }]))
  return { kind: 'built', outputs: named, log }
}

async function failureMessage(
  request: Build,
  outcome: CommandOutcome,
  known: { readonly cause: BuildFailureClass; readonly failure: ParsedBuildFailure | null },
): Promise<string> {
  const { cause, failure } = known
  const name =
    failure === null
      ? namePart(request.drvPath).replace(/\.drv$/, '')
      : namePart(failure.drvPath).replace(/\.drv$/, '')
  switch (cause) {
    case 'cancelled':
      return `${name}: the build was cancelled`
    case 'oom':
      return `${name}: the build needed more memory than it may have`
    case 'timeout':
      return `${name}: ${failure?.reason ?? nixErrorMessage(outcome.stderr) ?? describeOutcome('nix-store', outcome)}`
    case 'hash_mismatch':
      return `${name}: ${failure?.reason ?? 'hash mismatch'}${hashes(outcome.stderr)}`
    case 'infra':
      return `${name}: ${failure?.reason ?? nixErrorMessage(outcome.stderr) ?? describeOutcome('nix-store', outcome)}`
    case 'build': {
      const reason = failure?.reason ?? nixErrorMessage(outcome.stderr) ?? 'the build failed'
      const lines = failure === null ? '' : await lastLogLines(request, failure.drvPath)
      return lines === '' ? `${name}: ${reason}` : `${name}: ${reason}\n${lines}`
    }
  }
}

/** The two lines `specified:` and `got:`, which a person copies into the source. */
function hashes(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => /^\s+(specified|got): +sha\d+-\S+\s*$/.test(line))
  return lines.map((line) => `\n${line.trim()}`).join('')
}

async function lastLogLines(request: Build, drvPath: StorePath): Promise<string> {
  const { signal: _, ...call } = request.call
  const answer = await answerOf({ ...nixStoreCommand(call, ['--read-log', drvPath]), timeoutMs: LOG_MS_MAX })
  if (answer.kind === 'failed') return ''
  return tailOf(answer.stdout.trimEnd().split('\n').slice(-MESSAGE_LINES).join('\n'), MESSAGE_BYTES_MAX)
}

function causeOf(line: string, reason: string): ParsedBuildFailure['cause'] {
  if (/^\s*error: hash mismatch/.test(line)) return 'hash_mismatch'
  if (/timed out after/.test(reason)) return 'timeout'
  return PLATFORM.test(reason) ? 'platform' : 'build'
}

function reasonOf(line: string): string {
  if (/hash mismatch/.test(line)) return 'the content does not have the hash that the derivation promises'
  const timedOut = /timed out after .*/.exec(line)
  if (timedOut !== null) return timedOut[0]
  return line
    .replace(/^\s*error: /, '')
    .replace(/'\/nix\/store\/[a-z0-9]{32}-[^']*\.drv' /, '')
    .replace(/^builder for /, 'builder ')
    .replace(/;$/, '')
}

const FAILED =
  /^\s*error: (?:builder for|hash mismatch in fixed-output derivation|building of|Cannot build|a '[^']*' with features \{[^}]*\} is required to build) '(\/nix\/store\/[^'!^]*\.drv)/
const PLATFORM = /platform mismatch|is required to build/
const LOG_BYTES_MAX = 64 * 1024
const LOG_MS_MAX = 10_000
const MESSAGE_LINES = 20
const MESSAGE_BYTES_MAX = 4 * 1024
