import type { ControlFacts } from '@crystal-forge/protocol'
import { type Arrival, collectedAt } from '../agents/record-report.ts'
import { newId } from '../new-id.ts'

/** A message with control facts that was verified, as it is to be recorded. Tenant, system and host name are those of the key. */
export type VerifiedFacts = {
  readonly id: string
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly keyId: string
  readonly nonce: string
  readonly expiresAt: Date
  readonly messageId: string
  readonly sequence: number
  /** Lower-case hexadecimal. */
  readonly previousSha256: string | null
  readonly bootId: string | null
  readonly currentPath: string
  readonly bootedPath: string | null
  readonly stigReportSha256: string | null
  readonly agentVersion: string
  readonly facts: ControlFacts['facts']
  readonly collectedAt: Date
  readonly receivedAt: Date
  /** The exact bytes that were signed; kept as evidence. */
  readonly body: Uint8Array
  readonly http: object
}

export type RecordedFacts =
  | { readonly kind: 'recorded' | 'duplicate'; readonly receivedAt: Date }
  /** The signature was used before. */
  | { readonly kind: 'replayed' }
  /** The key or its system is no longer active. */
  | { readonly kind: 'refused' }

/** Atomic: nonce, facts, evidence and event, or nothing. A message id of a system is recorded once. */
export type ControlFactsStore = {
  record(facts: VerifiedFacts): Promise<RecordedFacts>
}

/** Control facts as they are to be recorded. Pure but for the random part of the id. */
export function recordFacts(message: ControlFacts, arrival: Arrival): VerifiedFacts {
  const { sender, nonce, expiresAt, receivedAt, body, http } = arrival
  return {
    id: newId('cfm', receivedAt),
    tenant: sender.tenant,
    system: sender.system,
    hostname: sender.hostname,
    keyId: sender.keyId,
    nonce,
    expiresAt,
    messageId: message.message_id,
    sequence: message.sequence,
    previousSha256: message.previous_sha256,
    bootId: message.boot_id,
    currentPath: message.current_path,
    bootedPath: message.booted_path,
    stigReportSha256: message.stig_report_sha256,
    agentVersion: message.agent_version,
    facts: message.facts,
    collectedAt: collectedAt(message.collected_at, receivedAt),
    receivedAt,
    body,
    http,
  }
}
