import { answerReport, type Ingested, type Reports, recordReport } from '@crystal-forge/control-plane'
import { agentReport, checkIdentity, refuse } from '@crystal-forge/protocol'
import type { Endpoint, HttpRequest, Reply } from '../http-api.ts'
import { problem } from '../http-api.ts'
import { recogniseAgent, refusalReply, replayedReply, signedHttp } from '../signed-caller.ts'
import type { KnownKeys } from './known-keys.ts'

export type Parts = {
  readonly authority: string
  readonly nextReportInS: number
  readonly keys: KnownKeys
  readonly reports: Reports
  readonly now: () => Date
}

/** `POST /v1/agent/reports`: a state or a heartbeat of the host whose key signed it. */
export function postReport(parts: Parts): Endpoint {
  const { authority, keys, reports, now } = parts
  return async (request: HttpRequest): Promise<Reply> => {
    const receivedAt = now()
    const caller = await recogniseAgent(request, {
      authority,
      now: receivedAt,
      findKey: keys.find,
      schema: agentReport,
    })
    if (!caller.ok) return caller.reply
    const { principal: sender, body: report, nonce, expiresAt } = caller
    const mismatch = checkIdentity(sender, report)
    if (mismatch !== null) return refusalReply(mismatch)
    const http = signedHttp(request)
    const arrival = { sender, nonce, expiresAt, receivedAt, body: request.body, http }
    const ingested = await reports.ingest(recordReport(report, arrival))
    if (ingested.kind === 'refused') keys.forget(sender.keyId)
    return replyTo(ingested, parts)
  }
}

function replyTo(ingested: Ingested, { nextReportInS }: Parts): Reply {
  switch (ingested.kind) {
    case 'recorded':
      return { status: 202, body: answerReport(ingested, { nextReportInS }) }
    case 'duplicate':
      return { status: 200, body: answerReport(ingested, { nextReportInS }) }
    case 'replayed':
      return replayedReply()
    case 'state_required':
      return problem(
        409,
        'state_required',
        'the current state of this host is another one; send the whole state',
      )
    case 'refused':
      return refusalReply(refuse('key_revoked', ''))
  }
}
