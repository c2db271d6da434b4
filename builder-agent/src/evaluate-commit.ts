import {
  type ConfigurationOutcome,
  configurationNames,
  type Evaluator,
  evaluateConfiguration,
  type FlakeReference,
} from '@crystal-forge/nix-cli'
import type { Evaluated, EvaluatePayload, JobResult } from '@crystal-forge/protocol'
import { evaluatorOf } from './evaluator.ts'
import { failed, oneLine, printable } from './failed.ts'
import type { JobContext } from './job-context.ts'
import { uploadDerivations } from './upload-derivations.ts'
import { type VerdictSender, verdictSender } from './verdict-sender.ts'

/**
 * Evaluates every configuration of a commit, a few at a time, each by itself. Verdicts go to the control plane as they
 * come, so that builds begin before the last evaluation ends.
 */
export async function evaluateCommit(
  context: JobContext,
  work: EvaluatePayload,
): Promise<JobResult['result']> {
  const evaluator = evaluatorOf(context)
  const flake: FlakeReference = { ...work.source, branch: work.branch, rev: work.rev }
  const listed = await configurationNames(evaluator, flake)
  if (listed.kind === 'error') return failed(listed.class, listed.message, listed.trace)
  const sender = verdictSender(context)
  const total = listed.names.length
  const waiting = [...listed.names]
  let done = 0
  let failures = 0
  context.lease.report({ phase: 'evaluate', done, total, unit: 'configurations' })
  const worker = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      if (context.lease.signal.aborted) return
      const evaluated = await evaluateOne(context, { evaluator, flake, name })
      // What was interrupted says nothing about the configuration.
      if (evaluated === undefined) return
      if (evaluated.state === 'error') failures += 1
      done += 1
      context.lease.report({
        phase: 'evaluate',
        done,
        total,
        unit: 'configurations',
        note: oneLine(name, 300),
      })
      sender.add(evaluated)
    }
  }
  const workers = Math.max(1, Math.min(context.machine.config.concurrent_evaluations, total))
  await Promise.all(Array.from({ length: workers }, worker))
  return finish(sender, { total, done, failures })
}

async function finish(
  sender: VerdictSender,
  count: { total: number; done: number; failures: number },
): Promise<JobResult['result']> {
  const lost = await sender.flush()
  if (lost !== undefined) return failed('infra', lost)
  if (count.done < count.total) return failed('cancelled', 'the evaluation was stopped before its end')
  return {
    outcome: 'succeeded',
    succeeded: { kind: 'evaluate', configurations: count.total, failed: count.failures },
  }
}

async function evaluateOne(
  context: JobContext,
  what: { readonly evaluator: Evaluator; readonly flake: FlakeReference; readonly name: string },
): Promise<Evaluated | undefined> {
  const startedAt = performance.now()
  const outcome = await evaluateConfiguration(what.evaluator, what.flake, { name: what.name, extras: {} })
  const duration = Math.round(performance.now() - startedAt)
  if (outcome.kind === 'error') return errorVerdict(what.name, outcome, duration)
  const exported = await uploadDerivations(context, outcome.drvPath)
  if (exported.kind === 'failed')
    context.log.warn(
      { drv: outcome.drvPath, why: exported.why },
      'derivations not uploaded: builders evaluate again',
    )
  const report = outcome.stig.kind === 'value' ? stigReport(outcome.stig.json) : undefined
  return {
    state: 'ok',
    configuration: what.name,
    drv_path: outcome.drvPath,
    out_path: outcome.outPath,
    system: oneLine(outcome.system ?? 'unknown', 64),
    agent_assertion: outcome.agentEnabled,
    export_key: exported.kind === 'uploaded' ? exported.key : null,
    ...(report === undefined ? {} : report),
    duration_ms: duration,
  }
}

function errorVerdict(
  configuration: string,
  outcome: Extract<ConfigurationOutcome, { kind: 'error' }>,
  duration: number,
): Evaluated | undefined {
  if (outcome.class === 'cancelled') return undefined
  return {
    state: 'error',
    // A name that no message can carry is an error by itself; its beginning tells which one it is.
    configuration: oneLine(configuration, 128),
    class: outcome.class,
    message: printable(outcome.message, 4000) || 'the evaluation failed without a message',
    trace: printable(outcome.trace, -8000),
    duration_ms: duration,
  }
}

type StigReport = Pick<Extract<Evaluated, { state: 'ok' }>, 'stig_report' | 'facts'>

/** A report that no message can carry is named as missing; it must not look like a host without controls. */
function stigReport(json: string): StigReport {
  const bytes = Buffer.byteLength(json)
  if (bytes > STIG_REPORT_BYTES_MAX) return { facts: { stig_report_bytes: bytes } }
  return { stig_report: JSON.parse(json) }
}

const STIG_REPORT_BYTES_MAX = 700_000
