import { holdsBuild, missingPaths } from '@crystal-forge/postgres'
import { type CacheMissingAnswer, cacheMissingRequest } from '@crystal-forge/protocol'
import { type BuilderParts, builderCall, staleFence } from '../builder-call.ts'
import type { Endpoint } from '../http-api.ts'

/** `POST /v1/builder/cache/missing`: which paths of a closure must be uploaded. */
export function postMissing(parts: BuilderParts): Endpoint {
  return builderCall(parts, cacheMissingRequest, async ({ transaction, builder, body }) => {
    const { job, fence, paths } = body
    if (!(await holdsBuild(transaction, { job, fence, builder: builder.builder }))) return staleFence(job)
    const answer: CacheMissingAnswer = { missing: await missingPaths(transaction, paths) }
    return { status: 200, body: answer }
  })
}
