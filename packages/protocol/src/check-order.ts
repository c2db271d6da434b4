import { type DeploymentOrder, deploymentOrder, ORDER_PAE_BYTES_MAX } from './deployment-order.ts'
import { DEPLOYMENT_PAYLOAD_TYPE, type Envelope, parseEnvelope, preAuthEncoding } from './dsse.ts'
import { countPersons, type TrustedKey, verifiedSigners } from './dsse-verify.ts'
import { isDrvPath, parseStorePath, type StorePath } from './store-path.ts'
import { parseStrictJson } from './strict-json.ts'
import { parseUtcTimestamp } from './timestamp.ts'

/** What the host knows by itself: its NixOS configuration and its own durable state. */
export type HostContext = {
  /** Pinned in the host's configuration. */
  readonly trusted: readonly TrustedKey<'director' | 'operator'>[]
  /** The host's own minimum of operators; an order may ask for more, never for fewer. */
  readonly operatorsMin: number
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly agentKeyId: string
  /** The highest sequence that this host has started or refused. */
  readonly lastSequence: number
  readonly caches: readonly string[]
  readonly now: Date
}

/** Why a host does nothing. In the order in which the checks are made. */
export type OrderRefusal =
  | 'malformed_envelope'
  | 'wrong_payload_type'
  | 'too_large'
  | 'director_missing'
  | 'operators_missing'
  | 'malformed_order'
  | 'other_tenant'
  | 'other_system'
  | 'other_key'
  | 'stale_sequence'
  | 'not_yet_valid'
  | 'expired'
  | 'bad_store_path'
  | 'cache_not_allowed'

/** An order that passed; what needs the machine (lock, space, copy, closure digest, agent assertion) comes after. */
export type CheckedOrder = {
  readonly ok: true
  readonly order: DeploymentOrder
  readonly toplevel: StorePath
}
export type RefusedOrder = {
  readonly ok: false
  readonly code: OrderRefusal
  readonly order: DeploymentOrder | null
}

/**
 * Whether a host would carry out an order. Pure; every refusal leaves the machine as it was. `order` of a refusal is set once
 * the signatures held, so that the caller can remember its sequence as refused.
 * @param envelope what strict JSON read from the answer of the control plane.
 */
export function checkOrder(envelope: unknown, host: HostContext): CheckedOrder | RefusedOrder {
  const signed = checkSignatures(envelope, host)
  if (!signed.ok) return signed
  const { order } = signed
  const code = checkAddressee(order, host) ?? checkMoment(order, host)
  if (code !== null) return { ok: false, code, order }
  const toplevel = parseStorePath(order.toplevel)
  if (toplevel === null || isDrvPath(toplevel)) return { ok: false, code: 'bad_store_path', order }
  const own = new Set(host.caches.map(withoutSlash))
  if (!order.caches.every((cache) => own.has(withoutSlash(cache)))) {
    return { ok: false, code: 'cache_not_allowed', order }
  }
  return { ok: true, order, toplevel }
}

function checkSignatures(
  value: unknown,
  host: HostContext,
): { readonly ok: true; readonly order: DeploymentOrder } | RefusedOrder {
  const envelope = parseEnvelope(value)
  if (envelope === null) return refusal('malformed_envelope')
  if (envelope.payloadType !== DEPLOYMENT_PAYLOAD_TYPE) return refusal('wrong_payload_type')
  if (preAuthEncoding(envelope.payloadType, envelope.payload).length > ORDER_PAE_BYTES_MAX)
    return refusal('too_large')
  const signers = verifiedSigners(envelope, host.trusted)
  if (countPersons(signers, 'director') < 1) return refusal('director_missing')
  const operators = countPersons(signers, 'operator')
  if (operators < host.operatorsMin) return refusal('operators_missing')
  const order = readOrder(envelope)
  if (order === null) return refusal('malformed_order')
  return operators < order.policy.threshold ? refusal('operators_missing') : { ok: true, order }
}

/** Reads the payload without verifying it, to show an order to the people who are asked to sign it. */
export function readOrder(envelope: Envelope): DeploymentOrder | null {
  try {
    const parsed = deploymentOrder.safeParse(parseStrictJson(envelope.payload))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

function checkAddressee(order: DeploymentOrder, host: HostContext): OrderRefusal | null {
  if (order.tenant !== host.tenant) return 'other_tenant'
  if (order.target.system !== host.system || order.target.hostname !== host.hostname) return 'other_system'
  return order.target.agentKeyId === host.agentKeyId ? null : 'other_key'
}

function checkMoment(order: DeploymentOrder, host: HostContext): OrderRefusal | null {
  if (order.sequence <= host.lastSequence) return 'stale_sequence'
  const notBefore = parseUtcTimestamp(order.notBefore)
  const expires = parseUtcTimestamp(order.expires)
  if (notBefore === null || expires === null) return 'malformed_order'
  if (host.now < notBefore) return 'not_yet_valid'
  return host.now < expires ? null : 'expired'
}

function refusal(code: OrderRefusal): RefusedOrder {
  return { ok: false, code, order: null }
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '')
}
