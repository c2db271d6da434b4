import { hash } from 'node:crypto'
import { type AgentReport, canonicalJson, type StateReport, stateDigest } from '@crystal-forge/protocol'
import { newId } from '../new-id.ts'
import type { AgentPrincipal } from '../principals.ts'
import type { StateRow, VerifiedReport } from './reports.ts'

/** How a report arrived: enough to record it, and to let an auditor verify the host's signature again. */
export type Arrival = {
  readonly sender: AgentPrincipal
  readonly nonce: string
  readonly expiresAt: Date
  readonly receivedAt: Date
  readonly body: Uint8Array
  /** What the signature covers besides the body; goes into the event as it is. */
  readonly http: object
}

/** A report over our wire as it is to be recorded. Pure but for the random part of ids. */
export function recordReport(report: AgentReport, arrival: Arrival): VerifiedReport {
  const { sender, nonce, expiresAt, receivedAt, body } = arrival
  const common = {
    tenant: sender.tenant,
    system: sender.system,
    hostname: sender.hostname,
    keyId: sender.keyId,
    nonce,
    expiresAt,
    reportId: report.report_id,
    collectedAt: collectedAt(report.collected_at, receivedAt),
    receivedAt,
    assurance: 'rfc9421' as const,
    body,
  }
  if (report.kind === 'heartbeat')
    return { ...common, kind: 'heartbeat', digest: report.state_digest, state: null }
  const record = { ...common, kind: 'state' as const, digest: stateDigest(report) }
  return { ...record, state: withEvent(columnsOf(report), record, arrival) }
}

export type StateColumns = Omit<StateRow, 'id' | 'event'>

/** Gives a state its id, and the audit event whose hash of the row lets anybody notice a later edit. */
export function withEvent(
  columns: StateColumns,
  report: Omit<VerifiedReport, 'state'>,
  arrival: Arrival,
): StateRow {
  const id = newId('sta', report.receivedAt)
  const eventId = newId('evt', report.receivedAt)
  const evidence = { sha256: sha256(report.body), bytes: report.body.length }
  const row = {
    id,
    tenant_id: report.tenant,
    system_id: report.system,
    report_id: report.reportId,
    digest: report.digest,
    change_reason: columns.changeReason,
    current_path: columns.currentPath,
    booted_path: columns.bootedPath,
    profile_path: columns.profilePath,
    facts: columns.facts,
    assurance: report.assurance,
    evidence_sha256: evidence.sha256,
    collected_at: report.collectedAt.toISOString(),
    received_at: report.receivedAt.toISOString(),
  }
  const event = {
    v: 1,
    id: eventId,
    at: row.received_at,
    tenant: report.tenant,
    type: 'agent.report',
    actor: { kind: 'agent', key: report.keyId, system: report.system },
    evidence,
    http: arrival.http,
    effect: { table: 'system_state', id, rowSha256: sha256(canonicalJson(row)) },
    assurance: report.assurance,
  }
  return { ...columns, id, event: { id: eventId, body: Buffer.from(canonicalJson(event)) } }
}

/**
 * The host's own time of a report, for ordering. A clock that ran ahead must not pin the host to a state that no later
 * one can replace, so it is never after the arrival; before 1970 a clock says nothing.
 */
export function collectedAt(claimed: string, receivedAt: Date): Date {
  const at = Date.parse(claimed)
  if (Number.isNaN(at) || at > receivedAt.getTime()) return receivedAt
  return new Date(Math.max(at, 0))
}

function columnsOf(report: StateReport): StateColumns {
  const { v, kind, report_id, system, hostname, collected_at, change_reason, ...said } = report
  const { store_path, booted_path, profile_path, ...facts } = said
  return {
    changeReason: change_reason,
    currentPath: store_path,
    bootedPath: booted_path ?? null,
    profilePath: profile_path ?? null,
    generation: facts.generation ?? null,
    bootId: facts.boot_id ?? null,
    revision: facts.revision ?? null,
    failedUnits: facts.failed_units ?? null,
    agentVersion: facts.agent_version ?? null,
    nixosVersion: facts.fingerprint?.nixos_version ?? null,
    kernel: facts.fingerprint?.kernel ?? null,
    facts,
  }
}

function sha256(data: Uint8Array | string): string {
  return hash('sha256', data, 'hex')
}
