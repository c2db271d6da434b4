import { join } from 'node:path'
import { type ScanOutcome, scanClosure } from '@crystal-forge/nix-cli'
import { type JobResult, parseStorePath, type ScanPayload, type Succeeded } from '@crystal-forge/protocol'
import { failed, printable } from './failed.ts'
import type { JobContext } from './job-context.ts'
import { storeCall } from './nix-calls.ts'

/** Scans what a system refers to at run time. Without a scanner the answer says so: it is never "clean". */
export async function scan(context: JobContext, work: ScanPayload): Promise<JobResult['result']> {
  const outPath = parseStorePath(work.out_path)
  if (outPath === null) return failed('infra', 'the job names something that is no store path')
  const { vulnix, state_directory: directory } = context.machine.config
  context.lease.report({ phase: 'scan', done: 0, total: 1, unit: 'closures' })
  const outcome = await scanClosure({
    call: { ...storeCall(context), timeoutMs: vulnix.timeout * 1000 },
    outPath,
    cacheDirectory: join(directory, 'vulnix'),
    ...(vulnix.mirror === undefined ? {} : { mirror: vulnix.mirror }),
    whitelists: vulnix.enable_whitelist && vulnix.whitelist_path !== undefined ? [vulnix.whitelist_path] : [],
    extraArguments: vulnix.extra_args,
  })
  return resultOf(outcome)
}

function resultOf(outcome: ScanOutcome): JobResult['result'] {
  switch (outcome.kind) {
    case 'no-scanner':
      return done({ outcome: 'no_scanner', scanner: null, message: outcome.reason, findings: [] })
    case 'failed':
      return outcome.class === 'infra'
        ? done({
            outcome: 'failed',
            scanner: null,
            message: printable(outcome.message).slice(0, 2000),
            findings: [],
          })
        : failed(outcome.class, printable(outcome.message))
    case 'scanned': {
      const findings = outcome.findings.slice(0, FINDINGS_MAX).map((finding) => ({
        ...finding,
        description: finding.description === null ? null : printable(finding.description).slice(0, 500),
      }))
      const gaps = gapsOf(outcome, findings.length)
      return done({
        outcome: 'scanned',
        scanner: outcome.scanner,
        ...(gaps === '' ? {} : { message: gaps }),
        findings,
      })
    }
  }
}

function done(scanned: Omit<Extract<Succeeded, { kind: 'scan' }>, 'kind'>): JobResult['result'] {
  return { outcome: 'succeeded', succeeded: { kind: 'scan', ...scanned } }
}

/** What the findings do not cover, in words that an auditor reads. */
function gapsOf(outcome: Extract<ScanOutcome, { kind: 'scanned' }>, kept: number): string {
  const gaps = []
  if (outcome.unscanned.length > 0)
    gaps.push(`${outcome.unscanned.length} paths without a recipe in the store were not looked at`)
  if (outcome.findings.length > kept)
    gaps.push(`${outcome.findings.length - kept} findings beyond ${kept} were left out`)
  return gaps.join('; ')
}

/** The limit of the message. */
const FINDINGS_MAX = 1500
