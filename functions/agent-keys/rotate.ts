import type { AgentPrincipal, Rotated, Rotations } from '@crystal-forge/control-plane'
import {
  checkIdentity,
  type KeyRecord,
  keyId,
  type RotateKeyAnswer,
  refuse,
  rotateKeyRequest,
} from '@crystal-forge/protocol'
import { type Endpoint, problem, type Reply } from '../http-api.ts'
import { refusalReply, replayedReply, signedHttp } from '../signed-caller.ts'
import { publicKeyIn, recogniseTwoKeys } from './two-key-caller.ts'

export type RotateParts = {
  readonly authority: string
  readonly now: () => Date
  readonly findKeyToReplace: (oldKeyId: string, newKeyId: string) => Promise<KeyRecord<AgentPrincipal> | null>
  readonly rotations: Rotations
}

/** `POST /v1/agent/keys`: the new key becomes active and the old one is revoked, in one step. */
export function rotate({ authority, now, findKeyToReplace, rotations }: RotateParts): Endpoint {
  return async (request) => {
    const at = now()
    const fresh = publicKeyIn(request.body)
    const caller = await recogniseTwoKeys(request, {
      authority,
      now: at,
      second: 'old',
      findKey: (oldKeyId) => findKeyToReplace(oldKeyId, fresh === null ? '' : keyId(fresh)),
      schema: rotateKeyRequest,
    })
    if (!caller.ok) return caller.reply
    const { principal, newKey, spent, body } = caller
    const mismatch = checkIdentity(principal, { hostname: body.hostname })
    if (mismatch !== null) return refusalReply(mismatch)
    const { tenant, system, hostname, keyId: oldKeyId } = principal
    const key = { keyId: newKey.keyId, publicKey: newKey.publicKey }
    const sent = { spent, at, body: request.body, http: signedHttp(request) }
    const rotated = await rotations.rotate({ tenant, system, hostname, oldKeyId, ...key, ...sent })
    return replyTo(rotated, { key_id: newKey.keyId, replaced: oldKeyId, server_time: at.toISOString() })
  }
}

function replyTo(rotated: Rotated, answer: RotateKeyAnswer): Reply {
  switch (rotated.kind) {
    case 'rotated':
      return { status: 201, body: answer }
    case 'rotated_before':
      return { status: 200, body: answer }
    case 'replayed':
      return replayedReply()
    case 'key_in_use':
      return problem(409, 'key_in_use', 'public_key belongs to a host or a builder already; make a new pair')
    case 'refused':
      return refusalReply(refuse('key_revoked', ''))
  }
}
