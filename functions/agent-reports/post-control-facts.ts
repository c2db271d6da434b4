import { type ControlFactsStore, type RecordedFacts, recordFacts } from '@crystal-forge/control-plane'
import { type ControlFactsAnswer, checkIdentity, controlFacts, refuse } from '@crystal-forge/protocol'
import type { Endpoint, HttpRequest, Reply } from '../http-api.ts'
import { recogniseAgent, refusalReply, replayedReply, signedHttp } from '../signed-caller.ts'
import type { KnownKeys } from './known-keys.ts'

export type ControlFactsParts = {
  readonly authority: string
  readonly keys: KnownKeys
  readonly store: ControlFactsStore
  readonly now: () => Date
}

/** `POST /v1/agent/control-facts`: what the collectors of the host found, by the host whose key signed it. */
export function postControlFacts({ authority, keys, store, now }: ControlFactsParts): Endpoint {
  return async (request: HttpRequest): Promise<Reply> => {
    const receivedAt = now()
    const caller = await recogniseAgent(request, {
      authority,
      now: receivedAt,
      findKey: keys.find,
      schema: controlFacts,
    })
    if (!caller.ok) return caller.reply
    const { principal: sender, body: message, nonce, expiresAt } = caller
    const mismatch = checkIdentity(sender, message)
    if (mismatch !== null) return refusalReply(mismatch)
    const arrival = { sender, nonce, expiresAt, receivedAt, body: request.body, http: signedHttp(request) }
    const recorded = await store.record(recordFacts(message, arrival))
    if (recorded.kind === 'refused') keys.forget(sender.keyId)
    return replyTo(recorded)
  }
}

function replyTo(recorded: RecordedFacts): Reply {
  switch (recorded.kind) {
    case 'recorded':
      return { status: 202, body: answer(recorded.receivedAt) }
    case 'duplicate':
      return { status: 200, body: answer(recorded.receivedAt) }
    case 'replayed':
      return replayedReply()
    case 'refused':
      return refusalReply(refuse('key_revoked', ''))
  }
}

function answer(receivedAt: Date): ControlFactsAnswer {
  return { server_time: receivedAt.toISOString() }
}
