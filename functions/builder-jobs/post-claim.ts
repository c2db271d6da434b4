import { type BuilderPrincipal, whyNotClaimed } from '@crystal-forge/control-plane'
import {
  beginWork,
  type ClaimedJob,
  claimJob,
  type Database,
  endMootJob,
  jobStanding,
} from '@crystal-forge/postgres'
import {
  type ClaimAnswer,
  type ClaimRequest,
  claimRequest,
  type JobDocument,
  type JobPayload,
  type SecretSeed,
  signJobDocument,
} from '@crystal-forge/protocol'
import { type BuilderParts, builderCall } from '../builder-call.ts'
import type { Endpoint } from '../http-api.ts'

type Terms = { readonly leaseS: number; readonly signingKey: SecretSeed }

/** `POST /v1/builder/claims`: a job document signed for this builder's key, or why there is none. */
export function postClaim(parts: BuilderParts, terms: Terms): Endpoint {
  return builderCall(parts, claimRequest, async ({ transaction, builder, body }) => {
    const now = parts.now()
    const given = await claimWork(transaction, { builder: builder.builder, body, leaseS: terms.leaseS })
    if (given !== null) {
      const answer = answerOf(given, { builder, now, ...terms })
      return { status: 200, body: answer }
    }
    const answer: ClaimAnswer = { claimed: false, ...(await whyNone(transaction, body, now)) }
    return { status: 200, body: answer }
  })
}

type Given = { readonly job: ClaimedJob; readonly work: JobPayload }

/** Jobs that have nothing to do any more are ended on the way, up to a bound that keeps the request short. */
async function claimWork(
  transaction: Database,
  wanted: { readonly builder: string; readonly body: ClaimRequest; readonly leaseS: number },
): Promise<Given | null> {
  const { kinds, job: named, attempt } = wanted.body
  for (let tries = 0; tries < MOOT_JOBS_MAX; tries++) {
    const job = await claimJob(transaction, {
      builder: wanted.builder,
      kinds,
      job: named,
      attempt,
      leaseS: wanted.leaseS,
    })
    if (job === null) return null
    const work = await beginWork(transaction, job)
    if (work !== null) return { job, work }
    await endMootJob(transaction, job)
  }
  return null
}

async function whyNone(
  transaction: Database,
  body: ClaimRequest,
  now: Date,
): Promise<{ because: Extract<ClaimAnswer, { claimed: false }>['because']; retry_in_s?: number }> {
  if (body.job === undefined) return { because: 'none' }
  const standing = await jobStanding(transaction, body.job)
  const { because, retryInS } = whyNotClaimed(standing, { attempt: body.attempt, now })
  return retryInS === undefined ? { because } : { because, retry_in_s: retryInS }
}

function answerOf(
  { job, work }: Given,
  context: Terms & { readonly builder: BuilderPrincipal; readonly now: Date },
): ClaimAnswer {
  const { builder, now, leaseS, signingKey } = context
  const document: JobDocument = {
    v: 1,
    tenant: builder.tenant,
    job: job.id,
    attempt: job.attempt,
    fence: job.fence,
    builder_key: builder.keyId,
    issued_at: now.toISOString(),
    expires_at: new Date(now.getTime() + DOCUMENT_VALID_MS).toISOString(),
    work,
  }
  const { payloadType, payload, signatures } = signJobDocument(document, signingKey)
  return {
    claimed: true,
    job: job.id,
    kind: job.kind,
    attempt: job.attempt,
    fence: job.fence,
    lease_s: leaseS,
    document: { payloadType, payload, signatures: [...signatures] },
  }
}

const MOOT_JOBS_MAX = 20
/** A builder reads the document at once; the hour allows for its clock. */
const DOCUMENT_VALID_MS = 3_600_000
