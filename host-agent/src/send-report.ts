import { randomBytes } from 'node:crypto'
import { readControlFactsAnswer, readReportAnswer, signRequest } from '@crystal-forge/protocol'
import type { ControlPlane, HttpReply } from './control-plane.ts'
import type { FactsReply, Reply } from './decide.ts'
import type { Candidate, HostKeys } from './host-keys.ts'
import { type Log, reason } from './json-log.ts'
import type { HostKey } from './key-files.ts'

/** Sends the bytes of one report, signed now. Never rejects. */
export type SendReport = (body: Uint8Array, signal: AbortSignal) => Promise<Reply>

/**
 * Keys are read for each report, so a rotation needs no restart. When the key is refused and a pending one exists, the pending one is
 * tried: if it is taken, the rotation had taken effect although its answer was lost, and it becomes the key.
 */
export function reportSender(options: {
  readonly controlPlane: ControlPlane
  readonly keys: HostKeys
  readonly log: Log
}): SendReport {
  const { controlPlane, keys, log } = options
  return async (body, signal) => {
    let candidates: readonly Candidate[]
    try {
      candidates = await keys.candidates()
    } catch (error) {
      return { kind: 'unreachable', because: reason(error) }
    }
    let reply: HttpReply = { kind: 'unreachable', because: 'there is no key' }
    for (const key of candidates) {
      reply = await postReport(controlPlane, body, key, signal)
      if (isKeyRefused(reply)) continue
      if (key.role === 'pending' && isKeyKnown(reply)) await putInPlace(keys, key, log)
      break
    }
    return asReply(reply)
  }
}

/** Sends the bytes of control facts, signed now, with the key that reports are sent with. Never rejects. */
export type SendFacts = (body: Uint8Array, signal: AbortSignal) => Promise<FactsReply>

export function factsSender(options: {
  readonly controlPlane: ControlPlane
  readonly keys: HostKeys
}): SendFacts {
  return async (body, signal) => {
    let reply: HttpReply = { kind: 'unreachable', because: 'there is no key' }
    try {
      for (const key of await options.keys.candidates()) {
        reply = await postSigned(
          { controlPlane: options.controlPlane, target: '/v1/agent/control-facts', body, key },
          signal,
        )
        if (!isKeyRefused(reply)) break
      }
    } catch (error) {
      return { kind: 'unreachable', because: reason(error) }
    }
    if (reply.kind !== 'success') return reply
    if (readControlFactsAnswer(reply.body) !== null) return { kind: 'success' }
    return {
      kind: 'unreachable',
      because: `status ${reply.status} with a body that is no answer to control facts`,
    }
  }
}

/** Posts a report under a fresh nonce. */
export function postReport(
  controlPlane: ControlPlane,
  body: Uint8Array,
  key: HostKey,
  signal: AbortSignal,
): Promise<HttpReply> {
  return postSigned({ controlPlane, target: '/v1/agent/reports', body, key }, signal)
}

function postSigned(
  what: {
    readonly controlPlane: ControlPlane
    readonly target: string
    readonly body: Uint8Array
    readonly key: HostKey
  },
  signal: AbortSignal,
): Promise<HttpReply> {
  const { controlPlane, target, body, key } = what
  const sign = (request: Parameters<Parameters<ControlPlane['post']>[2]>[0]) =>
    signRequest({ ...request, seed: key.seed, keyId: key.keyId, nonce: freshNonce() })
  return controlPlane.post(target, body, sign, signal)
}

/** The one answer for an unknown key, a revoked key and a signature that does not verify. */
export function isKeyRefused(reply: HttpReply): boolean {
  return reply.kind === 'refusal' && reply.status === 401 && reply.code === 'signature_refused'
}

/** Whether the answer shows that the control plane takes this key, even if it refused what was said. */
export function isKeyKnown(reply: HttpReply): boolean {
  if (reply.kind === 'success') return true
  return reply.kind === 'refusal' && reply.code !== null && AFTER_THE_SIGNATURE.has(reply.code)
}

export function freshNonce(): string {
  return randomBytes(24).toString('base64url')
}

async function putInPlace(keys: HostKeys, key: Candidate, log: Log): Promise<void> {
  try {
    await keys.taken(key)
    log('info', 'the pending key is the key of this host now', { key: key.keyId })
  } catch (error) {
    log('error', 'the pending key is accepted but cannot be put in place; both stay', {
      because: reason(error),
    })
  }
}

function asReply(reply: HttpReply): Reply {
  if (reply.kind !== 'success') return reply
  const answer = readReportAnswer(reply.body)
  if (answer !== null) return { kind: 'answer', answer }
  return { kind: 'unreachable', because: `status ${reply.status} with a body that is no answer to a report` }
}

/** Refusals that only a sender whose signature was verified is told. */
const AFTER_THE_SIGNATURE: ReadonlySet<string> = new Set([
  'state_required',
  'identity_mismatch',
  'invalid_body',
  'replayed',
])
