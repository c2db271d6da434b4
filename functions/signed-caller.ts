import type { AgentPrincipal, BuilderPrincipal, Principal } from '@crystal-forge/control-plane'
import {
  type KeyRecord,
  parseSignedBody,
  publicRefusal,
  type Refusal,
  type RequestTag,
  type SignedRequest,
  verifyRequest,
} from '@crystal-forge/protocol'
import type * as z from 'zod'
import { type HttpRequest, problem, type Reply } from './http-api.ts'

/** Finds a key by its id, active or revoked; null when there is none. A key of an inactive owner counts as revoked. */
export type FindKey<Who extends Principal> = (keyId: string) => Promise<KeyRecord<Who> | null>

export type SignedCaller<Who extends Principal, Body> =
  | {
      readonly ok: true
      readonly principal: Who
      /** Goes into the replay memory in the transaction of the effect, and stays there until `expiresAt`. */
      readonly nonce: string
      readonly expiresAt: Date
      /** Parsed once, from the bytes that were digested. */
      readonly body: Body
    }
  | { readonly ok: false; readonly reply: Reply }

export type Recognition<Who extends Principal, Schema extends z.ZodType> = {
  /** The public host of the control plane, as configured: what `@authority` must be. */
  readonly authority: string
  readonly now: Date
  readonly findKey: FindKey<Who>
  readonly schema: Schema
}

/** Recognises a host by the profile of wire.md, and reads its body. Whether the nonce is fresh is for the effect to find out. */
export function recogniseAgent<Schema extends z.ZodType>(
  request: HttpRequest,
  how: Recognition<AgentPrincipal, Schema>,
): Promise<SignedCaller<AgentPrincipal, z.output<Schema>>> {
  return recognise(request, how, 'crystal-forge-agent-v1')
}

/** The same for a builder. */
export function recogniseBuilder<Schema extends z.ZodType>(
  request: HttpRequest,
  how: Recognition<BuilderPrincipal, Schema>,
): Promise<SignedCaller<BuilderPrincipal, z.output<Schema>>> {
  return recognise(request, how, 'crystal-forge-builder-v1')
}

async function recognise<Who extends Principal, Schema extends z.ZodType>(
  request: HttpRequest,
  how: Recognition<Who, Schema>,
  tag: RequestTag,
): Promise<SignedCaller<Who, z.output<Schema>>> {
  const { authority, now, findKey, schema } = how
  const verified = await verifyRequest(signedRequest(request), { tag, authority, now, lookupKey: findKey })
  if (!verified.ok) return { ok: false, reply: refusalReply(verified) }
  const parsed = parseSignedBody(request.body, schema)
  if (!parsed.ok) return { ok: false, reply: refusalReply(parsed) }
  const { principal, nonce, replayUntil } = verified
  return { ok: true, principal, nonce, expiresAt: replayUntil, body: parsed.value }
}

/** The request as the verifier takes it. The authority is the Host header, never a forwarded one. */
export function signedRequest(request: HttpRequest): SignedRequest {
  return {
    method: request.method,
    authority: headerOf(request, 'host') ?? '',
    target: request.rawQuery === '' ? request.path : `${request.path}?${request.rawQuery}`,
    fields: request.headers,
    body: request.body,
  }
}

/** What a caller is told: one answer for unknown key, revoked key and bad signature; clock refusals carry our time. */
export function refusalReply(refusal: Refusal): Reply {
  const { status, code, detail, serverTime } = publicRefusal(refusal)
  return problem(status, code, detail, serverTime === undefined ? {} : { server_time: serverTime })
}

/** The answer to a nonce that was spent before. */
export function replayedReply(): Reply {
  return problem(409, 'replayed', 'this signature was used before; sign the request again with a new nonce')
}

/**
 * The `http` member of an audit event: with the body (the evidence) everything that the signature covers, so that the
 * sender's own signature can be verified from event and evidence alone.
 */
export type SignedHttp = {
  readonly method: string
  readonly authority: string
  readonly path: string
  /** Without the question mark. */
  readonly query: string
  /** The values of all covered header fields. */
  readonly fields: Readonly<Record<string, string>>
  readonly input: string
  readonly signature: string
}

export function signedHttp(request: HttpRequest): SignedHttp {
  const input = headerOf(request, 'signature-input') ?? ''
  return {
    method: request.method,
    authority: headerOf(request, 'host') ?? '',
    path: request.path,
    query: request.rawQuery,
    fields: Object.fromEntries(request.headers.filter(([name]) => input.includes(`"${name}"`))),
    input,
    signature: headerOf(request, 'signature') ?? '',
  }
}

function headerOf(request: HttpRequest, wanted: string): string | undefined {
  return request.headers.find(([name]) => name === wanted)?.[1]
}
