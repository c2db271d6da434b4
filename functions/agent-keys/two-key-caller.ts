import type { Spent } from '@crystal-forge/control-plane'
import {
  type KeyRecord,
  type NewKey,
  parsePublicKey,
  parseSignedBody,
  parseStrictJson,
  verifyTwoKeyRequest,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import type { HttpRequest, Reply } from '../http-api.ts'
import { refusalReply, signedRequest } from '../signed-caller.ts'

export type TwoKeyCaller<Who, Body> =
  | {
      readonly ok: true
      readonly principal: Who
      readonly newKey: NewKey
      /** The nonces of both signatures. */
      readonly spent: readonly Spent[]
      readonly body: Body
    }
  | { readonly ok: false; readonly reply: Reply }

export type TwoKeyRecognition<Who, Schema extends z.ZodType> = {
  readonly authority: string
  readonly now: Date
  /** The label of the known key's signature. */
  readonly second: 'boot' | 'old'
  readonly findKey: (keyId: string) => Promise<KeyRecord<Who> | null>
  readonly schema: Schema
}

/** Recognises a host that signed with a new key, which its body carries, and with a known one. */
export async function recogniseTwoKeys<Who, Schema extends z.ZodType>(
  request: HttpRequest,
  how: TwoKeyRecognition<Who, Schema>,
): Promise<TwoKeyCaller<Who, z.output<Schema>>> {
  const { authority, now, second, findKey, schema } = how
  const verified = await verifyTwoKeyRequest(signedRequest(request), {
    tag: 'crystal-forge-agent-v1',
    authority,
    now,
    second,
    newKeyOf: publicKeyIn,
    lookupKey: findKey,
  })
  if (!verified.ok) return { ok: false, reply: refusalReply(verified) }
  const parsed = parseSignedBody(request.body, schema)
  if (!parsed.ok) return { ok: false, reply: refusalReply(parsed) }
  const { principal, newKey, keyId, nonce, replayUntil: expiresAt } = verified
  const spent = [
    { keyId, nonce, expiresAt },
    { keyId: newKey.keyId, nonce: newKey.nonce, expiresAt },
  ]
  return { ok: true, principal, newKey, spent, body: parsed.value }
}

/** Which key must have made the other signature. The body as a whole is parsed once the signatures hold. */
export function publicKeyIn(body: Uint8Array): Uint8Array | null {
  try {
    const parsed = carrier.safeParse(parseStrictJson(body))
    return parsed.success ? parsePublicKey(parsed.data.public_key) : null
  } catch {
    return null
  }
}

const carrier = z.looseObject({ public_key: z.string().max(100) })
