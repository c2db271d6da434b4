import {
  type JobDocument,
  type JobResult,
  jobDocument,
  keyId,
  parseStrictJson,
  verifyJobDocument,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import { buildDerivation } from './build-derivation.ts'
import type { CacheBucket } from './cache-bucket.ts'
import type { ControlPlane } from './control-plane.ts'
import { evaluateCommit } from './evaluate-commit.ts'
import { failed } from './failed.ts'
import type { JobContext, Machine } from './job-context.ts'
import { holdLease } from './lease.ts'
import type { Log } from './log.ts'
import { persistently } from './persistently.ts'
import { resolve } from './resolve.ts'
import { scan } from './scan.ts'
import type { UploadPool } from './upload-pool.ts'
import type { Claimed, Hint } from './work-loop.ts'

export type JobRunner = {
  readonly machine: Machine
  readonly controlPlane: ControlPlane
  readonly bucket: CacheBucket
  readonly uploads: UploadPool
  readonly jobPublicKey: Uint8Array
  readonly stop: AbortSignal
  readonly log: Log
}

/**
 * Does one claimed job: checks the document's signature, holds the lease, works, reports. Never throws: what goes wrong is
 * a result of class `infra`, or, when the lease is lost, nobody's business any more.
 */
export async function doJob(runner: JobRunner, claimed: Claimed, hint: Hint | null): Promise<void> {
  try {
    const document = readDocument(runner, claimed)
    if (typeof document === 'string')
      // No result is sent: whoever made this document is not the control plane that we were told to obey.
      runner.log.error({ job: claimed.job, why: document }, 'a job document was refused')
    else await doDocument(runner, document, { leaseS: claimed.lease_s, hint })
  } catch (error) {
    runner.log.error({ job: claimed.job, error }, 'a job was left: its lease will expire')
  }
}

async function doDocument(
  runner: JobRunner,
  document: JobDocument,
  { leaseS, hint }: { readonly leaseS: number; readonly hint: Hint | null },
): Promise<void> {
  const { log } = runner
  const { job, fence } = document
  const lease = holdLease({
    job,
    fence,
    leaseS,
    controlPlane: runner.controlPlane,
    extendHint: async (seconds) => hint?.hide(seconds),
    stop: runner.stop,
    log,
  })
  try {
    log.info({ job, kind: document.work.kind, attempt: document.attempt }, 'job begun')
    const result = await perform({ ...runner, document, lease })
    await lease.release()
    const ending: unknown = lease.signal.reason
    if (ending === 'lost') log.warn({ job }, 'job given up: another builder may have it')
    else await report(runner, document, ending === undefined ? result : stopped(ending, result))
    // What somebody else may go on with is shown to others at once.
    await (ending === undefined ? hint?.delete() : hint?.hide(0))?.catch(() => {})
  } finally {
    await lease.release()
  }
}

/** @returns the document, or why it must not be obeyed. */
function readDocument(runner: JobRunner, claimed: Claimed): JobDocument | string {
  const verified = verifyJobDocument(claimed.document, [
    {
      keyId: keyId(runner.jobPublicKey),
      publicKey: runner.jobPublicKey,
      role: 'control-plane',
      person: 'control-plane',
    },
  ])
  if (!verified.ok) return verified.code
  const parsed = jobDocument.safeParse(parseStrictJson(verified.payload))
  if (!parsed.success)
    return `not understood: ${parsed.error.issues[0]?.path.join('.')} ${parsed.error.issues[0]?.message}`
  const document = parsed.data
  if (document.builder_key !== runner.controlPlane.keyId) return `it is for ${document.builder_key}`
  if (document.job !== claimed.job || document.fence !== claimed.fence)
    return 'it is another one than was claimed'
  if (Date.parse(document.expires_at) < Date.now() - CLOCK_MS) return `it expired at ${document.expires_at}`
  return document
}

async function perform(context: JobContext): Promise<JobResult['result']> {
  const { work } = context.document
  try {
    switch (work.kind) {
      case 'resolve':
        return await resolve(context, work)
      case 'evaluate':
        return await evaluateCommit(context, work)
      case 'build':
        return await buildDerivation(context, work)
      case 'scan':
        return await scan(context, work)
    }
  } catch (error) {
    context.log.error({ job: context.document.job, error }, 'job failed by a fault of the builder')
    return failed('infra', error instanceof Error ? `${error.name}: ${error.message}` : String(error))
  }
}

/** A job that we stopped ourselves goes to another builder; one that was cancelled ends. A finished one stays finished. */
function stopped(ending: unknown, result: JobResult['result']): JobResult['result'] {
  if (result.outcome === 'succeeded') return result
  return ending === 'cancelled'
    ? failed('cancelled', 'cancelled by an operator')
    : failed('infra', 'the builder was stopped; another attempt may run elsewhere')
}

async function report(runner: JobRunner, document: JobDocument, result: JobResult['result']): Promise<void> {
  const said = { job: document.job, kind: document.work.kind, outcome: result.outcome }
  const answer = await deliver(runner, document, result)
  switch (answer.kind) {
    case 'ok':
      runner.log.info(
        { ...said, ...(result.outcome === 'failed' ? { class: result.class, message: result.message } : {}) },
        'job ended',
      )
      return
    case 'refused': {
      const { status, code, detail } = answer
      runner.log.warn({ ...said, code, detail }, 'the result was refused')
      // The job is still ours: without any result it would wait for its lease and end the same way again.
      if (UNREADABLE.has(status))
        await deliver(runner, document, failed('infra', `its result was refused: ${code} ${detail}`))
      return
    }
    case 'unanswered':
      runner.log.error(
        { ...said, why: answer.why },
        'the result could not be delivered: the lease will expire',
      )
  }
}

/** The same result again gets the same answer, so that a lost one does no harm. */
function deliver(
  runner: JobRunner,
  document: JobDocument,
  result: JobResult['result'],
): ReturnType<typeof persistently<unknown>> {
  const body: JobResult = { v: 1, fence: document.fence, result }
  const path = `/v1/builder/jobs/${document.job}/result`
  // A result is worth a while of waiting even when the program is told to stop.
  return persistently('result', () => runner.controlPlane.call(path, body, z.looseObject({})), {
    signal: AbortSignal.timeout(REPORT_MS_MAX),
    log: runner.log,
  })
}

/** Clocks of builders are a little off. */
const CLOCK_MS = 60_000
const REPORT_MS_MAX = 120_000
/** Malformed, too large, or not acceptable as it is. */
const UNREADABLE: ReadonlySet<number> = new Set([400, 413, 422])
