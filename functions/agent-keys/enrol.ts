import type { Enrolled, Enrolments, TokenPrincipal } from '@crystal-forge/control-plane'
import { type EnrolAnswer, enrolRequest, type KeyRecord } from '@crystal-forge/protocol'
import { type Endpoint, problem, type Reply } from '../http-api.ts'
import { replayedReply, signedHttp } from '../signed-caller.ts'
import { recogniseTwoKeys } from './two-key-caller.ts'

export type EnrolParts = {
  readonly authority: string
  readonly now: () => Date
  readonly findToken: (keyId: string) => Promise<KeyRecord<TokenPrincipal> | null>
  readonly enrolments: Enrolments
}

/** `POST /v1/enroll`: a host becomes known by a one-time token, which signs and is never sent. */
export function enrol({ authority, now, findToken, enrolments }: EnrolParts): Endpoint {
  return async (request) => {
    const at = now()
    const how = { authority, now: at, second: 'boot', findKey: findToken, schema: enrolRequest } as const
    const caller = await recogniseTwoKeys(request, how)
    if (!caller.ok) return caller.reply
    const { principal: token, newKey, spent, body } = caller
    const enrolled = await enrolments.enrol({
      token,
      hostname: body.hostname,
      configuration: body.configuration ?? body.hostname,
      keyId: newKey.keyId,
      publicKey: newKey.publicKey,
      spent,
      at,
      body: request.body,
      http: signedHttp(request),
    })
    return replyTo(enrolled, { keyId: newKey.keyId, at })
  }
}

function replyTo(enrolled: Enrolled, { keyId, at }: { keyId: string; at: Date }): Reply {
  switch (enrolled.kind) {
    case 'enrolled':
    case 'enrolled_before': {
      const body: EnrolAnswer = { system: enrolled.system, key_id: keyId, server_time: at.toISOString() }
      return { status: enrolled.kind === 'enrolled' ? 201 : 200, body }
    }
    case 'replayed':
      return replayedReply()
    case 'token_refused':
      return problem(403, 'token_refused', TOKEN_REFUSED[enrolled.because])
    case 'key_in_use':
      return problem(409, 'key_in_use', 'public_key belongs to a host or a builder already; make a new pair')
    case 'host_has_key':
      return problem(
        409,
        'host_has_key',
        'this host has an active key; only a token for exactly this host replaces it',
      )
    case 'system_inactive':
      return problem(
        403,
        'system_inactive',
        'this host was taken out of service; an operator must register it again',
      )
  }
}

const TOKEN_REFUSED = {
  used: 'this token was used; ask for another one',
  revoked: 'this token was revoked; ask for another one',
  expired: 'this token has expired; ask for another one',
  other_host: 'this token is for another host',
} as const
