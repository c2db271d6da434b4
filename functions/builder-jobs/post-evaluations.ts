import { recordEvaluationBatch } from '@crystal-forge/postgres'
import { evaluationsRequest } from '@crystal-forge/protocol'
import { type BuilderParts, builderCall, staleFence, unknownJob } from '../builder-call.ts'
import { type Endpoint, problem } from '../http-api.ts'

/** `POST /v1/builder/jobs/{job}/evaluations`: some configurations of a commit that is still being evaluated. */
export function postEvaluations(parts: BuilderParts): Endpoint {
  return builderCall(parts, evaluationsRequest, async ({ transaction, builder, body, request }) => {
    const { job = '' } = request.parameters
    // PostgreSQL has no text with NUL, and facts are free JSON.
    if (JSON.stringify(body).includes('\\u0000'))
      return problem(422, 'bad_text', 'evaluations: a text holds the character NUL, which cannot be stored')
    const recorded = await recordEvaluationBatch(transaction, { job, builder, message: body })
    switch (recorded.kind) {
      case 'unknown-job':
        return unknownJob(job)
      case 'stale':
        return staleFence(job)
      case 'wrong-kind':
        return problem(422, 'wrong_kind', `job ${job} is to ${recorded.expected}; it has no evaluations`)
      case 'recorded':
        return { status: 200, body: recorded.counts }
    }
  })
}
