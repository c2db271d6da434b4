import { heartbeatJob } from '@crystal-forge/postgres'
import { type JobHeartbeatAnswer, jobHeartbeat } from '@crystal-forge/protocol'
import { type BuilderParts, builderCall, staleFence } from '../builder-call.ts'
import type { Endpoint } from '../http-api.ts'

/** `POST /v1/builder/jobs/{job}/heartbeat`: extends the lease, and says whether the job shall end. */
export function postHeartbeat(parts: BuilderParts, { leaseS }: { readonly leaseS: number }): Endpoint {
  return builderCall(parts, jobHeartbeat, async ({ transaction, builder, body, request }) => {
    const { job = '' } = request.parameters
    const beat = { job, builder: builder.builder, leaseS, message: body }
    const held = await heartbeatJob(transaction, beat)
    if (held === null) return staleFence(job)
    const answer: JobHeartbeatAnswer = { lease_s: leaseS, cancel: held.cancel }
    return { status: 200, body: answer }
  })
}
