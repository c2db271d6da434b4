import { type JobPayload, type JobResult, jobDocument, parseStrictJson } from '@crystal-forge/protocol'
import type { CacheBucket } from '../src/cache-bucket.ts'
import type { JobContext } from '../src/job-context.ts'
import { type UploadPool, uploadPool } from '../src/upload-pool.ts'
import type { StandIn } from './control-plane-stand-in.ts'
import { quietLog } from './quiet-log.ts'
import type { TestMachine } from './test-machine.ts'

export type TestJob = { readonly context: JobContext; readonly progress: string[] }

/** A claimed job of the stand-in with a lease that only the test ends. */
export function testJob(
  world: StandIn,
  work: JobPayload,
  parts: {
    readonly machine: TestMachine
    readonly bucket: CacheBucket
    readonly uploads?: UploadPool
    readonly signal?: AbortSignal
  },
): TestJob {
  const claimed = world.claim(world.add(work))
  const payload = Buffer.from(claimed.document.payload, 'base64')
  const progress: string[] = []
  const context: JobContext = {
    machine: parts.machine.machine,
    document: jobDocument.parse(parseStrictJson(payload)),
    controlPlane: world.plane,
    bucket: parts.bucket,
    uploads: parts.uploads ?? uploadPool(4),
    lease: {
      signal: parts.signal ?? new AbortController().signal,
      report: ({ phase, done, total, unit, note }) =>
        progress.push(`${phase} ${done}/${total} ${unit} ${note ?? ''}`),
      release: async () => {},
    },
    log: quietLog(),
  }
  return { context, progress }
}

/** @throws {Error} with the failure's own words. */
export function succeededAs<Kind extends string>(
  result: JobResult['result'],
  kind: Kind,
): Extract<Extract<JobResult['result'], { outcome: 'succeeded' }>['succeeded'], { kind: Kind }> {
  if (result.outcome === 'failed')
    throw new Error(`${result.class}: ${result.message}\n${result.log_tail ?? ''}`)
  const { succeeded } = result
  if (!isKind(succeeded, kind)) throw new Error(`a ${succeeded.kind} instead of a ${kind}`)
  return succeeded
}

type Succeeded = Extract<JobResult['result'], { outcome: 'succeeded' }>['succeeded']

function isKind<Kind extends string>(
  succeeded: Succeeded,
  kind: Kind,
): succeeded is Extract<Succeeded, { kind: Kind }> {
  return succeeded.kind === kind
}
