import * as z from 'zod'
import { flakeSource } from './flake-source.ts'
import {
  configurationName,
  drvPathText,
  envelopeJson,
  gitRevision,
  hexSha256,
  INT4_MAX,
  instant,
  line,
  sriSha256,
  storePathText,
  text,
} from './primitives.ts'

export const JOB_KINDS = ['resolve', 'evaluate', 'build', 'scan'] as const
export const jobKind: z.ZodEnum<{ resolve: 'resolve'; evaluate: 'evaluate'; build: 'build'; scan: 'scan' }> =
  z.enum(JOB_KINDS)
export type JobKind = z.infer<typeof jobKind>

/** Which failures decide what follows: see `retryRule` of the control plane. */
export const failureClass: z.ZodEnum<{
  infra: 'infra'
  oom: 'oom'
  timeout: 'timeout'
  build: 'build'
  eval: 'eval'
  hash_mismatch: 'hash_mismatch'
  cancelled: 'cancelled'
}> = z.enum(['infra', 'oom', 'timeout', 'build', 'eval', 'hash_mismatch', 'cancelled'])
export type FailureClass = z.infer<typeof failureClass>

/** The SQS message: a hint, nothing more. */
export const jobHint: z.ZodType<JobHint> = z.strictObject({
  v: z.literal(1),
  job: line(64),
  kind: jobKind,
  attempt: z.int().min(1),
})
export type JobHint = { v: 1; job: string; kind: JobKind; attempt: number }

/** `POST /v1/builder/hello`: says what this builder can do, learns where the queues and the cache are. */
export const builderHello: z.ZodType<BuilderHello> = z.strictObject({
  v: z.literal(1),
  nix_version: line(64),
  systems: z.array(line(64)).min(1).max(16),
  /** Name and version of the scanner, or null when there is none. */
  scanner: line(100).nullable(),
  /** How builds are limited: `scope` (systemd) or why they are not. */
  isolation: line(200),
})
export type BuilderHello = {
  v: 1
  nix_version: string
  systems: string[]
  scanner: string | null
  isolation: string
}
export const builderHelloAnswer: z.ZodType<BuilderHelloAnswer> = z.object({
  builder: line(64),
  name: line(64),
  /** A kind of job that is not known here has no queue here. */
  queues: z.object({ resolve: z.url(), evaluate: z.url(), build: z.url(), scan: z.url() }),
  cache: z.object({
    bucket: line(100),
    /** Key prefix of this tenant, without a slash at its end. */
    prefix: line(100),
    region: line(64),
  }),
  lease_s: z.int().min(1),
  server_time: instant,
})
export type BuilderHelloAnswer = {
  builder: string
  name: string
  queues: Record<JobKind, string>
  cache: { bucket: string; prefix: string; region: string }
  lease_s: number
  server_time: string
}

/** `POST /v1/builder/claims`: a hinted job, or (without `job`) the best one of the kinds. */
export const claimRequest: z.ZodType<ClaimRequest> = z.strictObject({
  v: z.literal(1),
  kinds: z.array(jobKind).min(1).max(4),
  job: line(64).optional(),
  attempt: z.int().min(1).max(INT4_MAX).optional(),
})
export type ClaimRequest = { v: 1; kinds: JobKind[]; job?: string | undefined; attempt?: number | undefined }

export const claimAnswer: z.ZodType<ClaimAnswer> = z.discriminatedUnion('claimed', [
  z.object({
    claimed: z.literal(true),
    job: line(64),
    kind: jobKind,
    attempt: z.int().min(1),
    fence: z.int().min(1),
    lease_s: z.int().min(1),
    /** The job document, DSSE `application/vnd.crystalforge.job.v1+json`, signed by the control plane. */
    document: envelopeJson,
  }),
  z.object({
    claimed: z.literal(false),
    because: z.enum(['none', 'taken', 'not-yet', 'finished', 'stale', 'unknown']),
    retry_in_s: z.int().min(0).optional(),
  }),
])
export type ClaimAnswer =
  | {
      claimed: true
      job: string
      kind: JobKind
      attempt: number
      fence: number
      lease_s: number
      document: z.infer<typeof envelopeJson>
    }
  | {
      claimed: false
      because: 'none' | 'taken' | 'not-yet' | 'finished' | 'stale' | 'unknown'
      retry_in_s?: number | undefined
    }

const resolvePayload = z.strictObject({
  kind: z.literal('resolve'),
  flake: line(64),
  source: flakeSource,
  branch: line(200),
  /** Newest revisions known, newest first: the walk stops at the first of them. */
  known: z.array(gitRevision).max(64),
  depth: z.int().min(1).max(100),
})
const evaluatePayload = z.strictObject({
  kind: z.literal('evaluate'),
  flake: line(64),
  commit: line(64),
  source: flakeSource,
  /** Nix 2.8 finds a revision that is not on the default branch only when it is told the branch. */
  branch: line(255),
  rev: gitRevision,
})
const buildPayload = z.strictObject({
  kind: z.literal('build'),
  derivation: line(64),
  drv_path: drvPathText,
  out_path: storePathText,
  /** Where the export of the derivation's closure lies; null: evaluate again. */
  export_key: line(300).nullable(),
  /** How to evaluate again; must yield the same drv path. */
  source: flakeSource,
  branch: line(255),
  rev: gitRevision,
  configuration: line(128),
  evaluator: line(64),
  memory_factor: z.number().min(1).max(8),
})
const scanPayload = z.strictObject({
  kind: z.literal('scan'),
  derivation: line(64),
  drv_path: drvPathText,
  out_path: storePathText,
})
const jobPayload = z.discriminatedUnion('kind', [resolvePayload, evaluatePayload, buildPayload, scanPayload])
export type ResolvePayload = z.infer<typeof resolvePayload>
export type EvaluatePayload = z.infer<typeof evaluatePayload>
export type BuildPayload = z.infer<typeof buildPayload>
export type ScanPayload = z.infer<typeof scanPayload>
export type JobPayload = ResolvePayload | EvaluatePayload | BuildPayload | ScanPayload

/** The payload of a job document's envelope. */
export const jobDocument: z.ZodType<JobDocument> = z.strictObject({
  v: z.literal(1),
  tenant: line(64),
  job: line(64),
  attempt: z.int().min(1),
  fence: z.int().min(1),
  /** The only builder key that may act on it. */
  builder_key: line(64),
  issued_at: instant,
  expires_at: instant,
  work: jobPayload,
})
export type JobDocument = {
  v: 1
  tenant: string
  job: string
  attempt: number
  fence: number
  builder_key: string
  issued_at: string
  expires_at: string
  work: JobPayload
}

/** `POST /v1/builder/jobs/{job}/heartbeat`. */
export const jobHeartbeat: z.ZodType<JobHeartbeat> = z.strictObject({
  v: z.literal(1),
  fence: z.int().min(1),
  progress: z
    .strictObject({
      phase: line(64),
      done: z.int().min(0),
      total: z.int().min(0),
      unit: line(32),
      note: line(300).optional(),
    })
    .optional(),
})
export type JobHeartbeat = {
  v: 1
  fence: number
  progress?:
    | { phase: string; done: number; total: number; unit: string; note?: string | undefined }
    | undefined
}
export const jobHeartbeatAnswer: z.ZodType<JobHeartbeatAnswer> = z.object({
  lease_s: z.int().min(1),
  cancel: z.boolean(),
})
export type JobHeartbeatAnswer = { lease_s: number; cancel: boolean }

const evaluated = z.discriminatedUnion('state', [
  z.strictObject({
    state: z.literal('ok'),
    configuration: configurationName,
    drv_path: drvPathText,
    out_path: storePathText,
    system: line(64),
    /** The closure still carries a working agent, as its own configuration says. */
    agent_assertion: z.boolean(),
    export_key: line(300).nullable(),
    facts: z.record(z.string().max(100), z.json()).optional(),
    stig_report: z.json().optional(),
    duration_ms: z.int().min(0).max(INT4_MAX),
  }),
  z.strictObject({
    state: z.literal('error'),
    configuration: configurationName,
    class: z.enum(['eval', 'timeout', 'infra']),
    message: text(4000),
    trace: text(8192).optional(),
    duration_ms: z.int().min(0).max(INT4_MAX),
  }),
])
export type Evaluated = z.infer<typeof evaluated>

/** `POST /v1/builder/jobs/{job}/evaluations`: verdicts as they come, so that builds begin before the last one. */
export const evaluationsRequest: z.ZodType<EvaluationsRequest> = z.strictObject({
  v: z.literal(1),
  fence: z.int().min(1),
  evaluator: line(64),
  evaluations: z.array(evaluated).min(1).max(50),
})
export type EvaluationsRequest = { v: 1; fence: number; evaluator: string; evaluations: Evaluated[] }

const succeeded = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('resolve'),
    /** Oldest first, along first parents; empty when the head is known. */
    commits: z
      .array(z.strictObject({ rev: gitRevision, committed_at: instant, subject: line(200) }))
      .max(200),
    head: gitRevision,
    /** False when none of `known` is an ancestor of the head any more: the branch was rewritten. */
    continues: z.boolean(),
    /** The known revision that the oldest of `commits` follows: what is known above it left the branch. */
    base: gitRevision.optional(),
  }),
  z.strictObject({ kind: z.literal('evaluate'), configurations: z.int().min(0), failed: z.int().min(0) }),
  z.strictObject({
    kind: z.literal('build'),
    out_path: storePathText,
    nar_hash: sriSha256,
    nar_size: z.int().min(0),
    closure: z.strictObject({ count: z.int().min(1), nar_size: z.int().min(0), sha256: hexSha256 }),
    pushed: z.strictObject({ paths: z.int().min(0), bytes: z.int().min(0) }),
    isolation: line(200),
    duration_ms: z.int().min(0).max(INT4_MAX),
    /** in-toto statement (SLSA provenance v1) in DSSE, signed with the builder's key. */
    attestation: envelopeJson,
  }),
  z.strictObject({
    kind: z.literal('scan'),
    /** Never "clean" without a scanner that said so. */
    outcome: z.enum(['scanned', 'no_scanner', 'failed']),
    scanner: line(100).nullable(),
    message: text(2000).optional(),
    findings: z
      .array(
        z.strictObject({
          /** `CVE-2014-0160`, or the like of another catalogue. */
          cve: z.string().regex(/^[A-Z]+-[0-9A-Za-z-]{4,40}$/, 'expected an id such as CVE-2014-0160'),
          package: line(200),
          version: line(200),
          derivation: line(300).nullable(),
          cvss3: z.number().min(0).max(10).nullable(),
          description: text(2000).nullable(),
          whitelisted: z.boolean(),
        }),
      )
      .max(5000),
  }),
])
export type Succeeded = z.infer<typeof succeeded>

/** `POST /v1/builder/jobs/{job}/result`. */
export const jobResult: z.ZodType<JobResult> = z.strictObject({
  v: z.literal(1),
  fence: z.int().min(1),
  result: z.union([
    z.strictObject({ outcome: z.literal('succeeded'), succeeded, log_tail: text(65_536).optional() }),
    z.strictObject({
      outcome: z.literal('failed'),
      class: failureClass,
      message: text(4000),
      log_tail: text(65_536).optional(),
    }),
  ]),
})
export type JobResult = {
  v: 1
  fence: number
  result:
    | { outcome: 'succeeded'; succeeded: Succeeded; log_tail?: string | undefined }
    | { outcome: 'failed'; class: FailureClass; message: string; log_tail?: string | undefined }
}
export type JobResultAnswer = { recorded: true; next: 'done' | 'retry' | 'verdict'; retry_in_s?: number }

/** `POST /v1/builder/cache/missing`: one question for a whole closure. */
export const cacheMissingRequest: z.ZodType<CacheMissingRequest> = z.strictObject({
  v: z.literal(1),
  job: line(64),
  fence: z.int().min(1),
  paths: z.array(storePathText).min(1).max(8000),
})
export type CacheMissingRequest = { v: 1; job: string; fence: number; paths: string[] }
export const cacheMissingAnswer: z.ZodType<CacheMissingAnswer> = z.object({ missing: z.array(z.string()) })
export type CacheMissingAnswer = { missing: string[] }

const uploadedPath = z.strictObject({
  path: storePathText,
  nar_hash: sriSha256,
  nar_size: z.int().min(0),
  references: z.array(storePathText).max(4000),
  deriver: drvPathText.nullable(),
  ca: line(200).nullable(),
  /** Relative to the tenant's prefix: `nar/<file hash>.nar.zst`. */
  url: z.string().regex(/^nar\/[0-9a-z]{52}\.nar(\.zst)?$/, 'expected nar/<hash>.nar.zst'),
  compression: z.enum(['zstd', 'none']),
  file_hash: sriSha256,
  file_size: z.int().min(0),
})
export type UploadedPath = z.infer<typeof uploadedPath>

/**
 * `POST /v1/builder/cache/commit`: the NARs are in the bucket; sign and publish. In batches, references first
 * or within the batch; the last one names the toplevel, whose whole closure must then be committed.
 */
export const cacheCommitRequest: z.ZodType<CacheCommitRequest> = z.strictObject({
  v: z.literal(1),
  job: line(64),
  fence: z.int().min(1),
  paths: z.array(uploadedPath).max(500),
  toplevel: storePathText.optional(),
})
export type CacheCommitRequest = {
  v: 1
  job: string
  fence: number
  paths: UploadedPath[]
  toplevel?: string | undefined
}
export type CacheCommitAnswer = {
  published: number
  closure?: { count: number; nar_size: number; sha256: string }
}
