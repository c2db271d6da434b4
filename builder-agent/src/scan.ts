import { join } from 'node:path'
import { absentPaths, type NixCall, type ScanOutcome, scanClosure } from '@crystal-forge/nix-cli'
import {
  type JobResult,
  parseStorePath,
  type ScanPayload,
  type StorePath,
  type Succeeded,
} from '@crystal-forge/protocol'
import { runBuild } from './build-derivation.ts'
import { failed, oneLine, printable } from './failed.ts'
import { importExport } from './fetch-derivations.ts'
import type { JobContext } from './job-context.ts'
import { storeCall } from './nix-calls.ts'
import { exportKey } from './upload-derivations.ts'

/** Scans what a system refers to at run time. Without a scanner the answer says so: it is never "clean". */
export async function scan(context: JobContext, work: ScanPayload): Promise<JobResult['result']> {
  const outPath = parseStorePath(work.out_path)
  const drvPath = parseStorePath(work.drv_path)
  if (outPath === null || drvPath === null)
    return failed('infra', 'the job names something that is no store path')
  const { vulnix, state_directory: directory } = context.machine.config
  if (context.machine.scanner !== null) {
    const absent = await ensurePresent(context, storeCall(context), { outPath, drvPath })
    if (absent !== undefined) return absent
  }
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

/**
 * A system that another builder built, or that was collected since, is fetched by its recipe: from a substituter, or built
 * again under the limits of a build.
 * @returns why it cannot be had.
 */
async function ensurePresent(
  context: JobContext,
  call: NixCall,
  { outPath, drvPath }: { readonly outPath: StorePath; readonly drvPath: StorePath },
): Promise<JobResult['result'] | undefined> {
  const known = await absentPaths(call, [outPath])
  if (known.kind === 'failed') return failed(known.class, known.message)
  if (known.absent.length === 0) return undefined
  const recipe = await absentPaths(call, [drvPath])
  if (recipe.kind === 'failed') return failed(recipe.class, recipe.message)
  if (recipe.absent.length > 0) {
    const why = await importExport(context, exportKey(drvPath), { call, drvPath })
    if (why !== undefined)
      return failed('infra', `${outPath} is not in this builder's store, and neither is its recipe: ${why}`)
  }
  const outcome = await runBuild(context, { call, drvPath, note: outPath, memoryFactor: 1 })
  return outcome.kind === 'failed' ? failed(outcome.class, outcome.message, outcome.log) : undefined
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
            message: printable(outcome.message, 2000),
            findings: [],
          })
        : failed(outcome.class, outcome.message)
    case 'scanned': {
      const findings = whatFits(outcome.findings)
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

type Scanned = Extract<ScanOutcome, { kind: 'scanned' }>
type Reported = Extract<Succeeded, { kind: 'scan' }>['findings'][number]

/** As many findings as one message carries. */
function whatFits(findings: Scanned['findings']): Reported[] {
  const kept: Reported[] = []
  let bytes = 0
  for (const finding of findings) {
    const reported = {
      ...finding,
      cve: oneLine(finding.cve, 64),
      package: oneLine(finding.package, 200),
      version: oneLine(finding.version, 200),
      derivation: finding.derivation === null ? null : oneLine(finding.derivation, 300),
      description: finding.description === null ? null : printable(finding.description, 500),
    }
    bytes += Buffer.byteLength(JSON.stringify(reported))
    if (kept.length === FINDINGS_MAX || bytes > FINDINGS_BYTES_MAX) break
    kept.push(reported)
  }
  return kept
}

function done(scanned: Omit<Extract<Succeeded, { kind: 'scan' }>, 'kind'>): JobResult['result'] {
  return { outcome: 'succeeded', succeeded: { kind: 'scan', ...scanned } }
}

/** What the findings do not cover, in words that an auditor reads. */
function gapsOf(outcome: Scanned, kept: number): string {
  const gaps = []
  if (outcome.unscanned.length > 0)
    gaps.push(`${outcome.unscanned.length} paths without a recipe in the store were not looked at`)
  if (outcome.findings.length > kept)
    gaps.push(`${outcome.findings.length - kept} findings beyond ${kept} were left out`)
  return gaps.join('; ')
}

/** The limit of the protocol. */
const FINDINGS_MAX = 5000
/** Below the 1 MiB of a signed request. */
const FINDINGS_BYTES_MAX = 900_000
