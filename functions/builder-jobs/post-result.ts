import { type RecordedResult, recordResult } from '@crystal-forge/postgres'
import { jobResult } from '@crystal-forge/protocol'
import { type BuilderParts, builderCall, staleFence, unknownJob } from '../builder-call.ts'
import { type Endpoint, problem, type Reply } from '../http-api.ts'

/** `POST /v1/builder/jobs/{job}/result`: how the attempt ended. The same result again gets the same answer. */
export function postResult(parts: BuilderParts): Endpoint {
  return builderCall(parts, jobResult, async ({ transaction, builder, body, request }) => {
    const { job = '' } = request.parameters
    return replyTo(await recordResult(transaction, { job, builder, message: body }), job)
  })
}

function replyTo(recorded: RecordedResult, job: string): Reply {
  switch (recorded.kind) {
    case 'recorded':
      return { status: 200, body: recorded.answer }
    case 'unknown-job':
      return unknownJob(job)
    case 'stale':
      return staleFence(job)
    case 'wrong-kind':
      return problem(422, 'wrong_kind', `succeeded.kind: job ${job} is to ${recorded.expected}`)
    case 'refused':
      return problem(422, 'attestation_refused', recorded.because)
    case 'mismatch':
      return problem(409, 'hash_mismatch', recorded.because)
  }
}
