import { createHash } from 'node:crypto'
import { type Fingerprint, type OriginalKey, type OriginalReport, stateDigest } from '@crystal-forge/protocol'
import type { AgentPrincipal } from '../principals.ts'
import { type Arrival, collectedAt, type StateColumns, withEvent } from './record-report.ts'
import type { Ingested, VerifiedReport } from './reports.ts'

/** A key that may be meant by a host name of the original's wire. Several tenants may know the same name. */
export type OriginalSender = {
  readonly sender: AgentPrincipal
  readonly key: OriginalKey
  /** Whether the tenant has switched the original's wire on, until when. */
  readonly tenantUntil: Date | null
}

/** Reports over the original's wire. */
export type OriginalReports = {
  /** The keys that may be meant by a host name, at most `most` of them. */
  findSenders(hostname: string, most: number): Promise<readonly OriginalSender[]>
  /**
   * As `Reports.ingest`, and the report's own time must lie after that of the last accepted one of its key, on any route;
   * otherwise, or when the key may no longer use this wire, it is `stale`.
   */
  ingest(report: VerifiedReport, stampedMicros: number): Promise<Ingested | { readonly kind: 'stale' }>
}

/** On `state` routes everything is a state; on the heartbeat route a heartbeat that says nothing new is one. */
export type OriginalRoute = 'state' | 'heartbeat'

/** A report of an original agent as it is to be recorded. The signature stands in for the nonce that this wire does not have. */
export function recordOriginalReport(
  report: OriginalReport,
  route: OriginalRoute,
  arrival: Omit<Arrival, 'nonce' | 'expiresAt'> & { readonly signature: Uint8Array },
): VerifiedReport {
  const { sender, receivedAt, body, signature } = arrival
  const nonce = createHash('sha256').update(signature).digest('base64url')
  const expiresAt = new Date(receivedAt.getTime() + NONCE_KEPT_MS)
  const columns = columnsOf(report)
  const record = {
    tenant: sender.tenant,
    system: sender.system,
    hostname: sender.hostname,
    keyId: sender.keyId,
    nonce,
    expiresAt,
    reportId: `original-${nonce}`,
    kind: route === 'heartbeat' && isRepeat(report) ? ('either' as const) : ('state' as const),
    digest: digestOf(report),
    collectedAt: collectedAt(new Date(Math.floor(report.timestampMicros / 1000)).toISOString(), receivedAt),
    receivedAt,
    assurance: 'legacy' as const,
    body,
  }
  return { ...record, state: withEvent(columns, record, { ...arrival, nonce, expiresAt }) }
}

/** What an agent sends when nothing changed. A heartbeat of version 1 arrives as a delta. */
function isRepeat(report: OriginalReport): boolean {
  return (
    report.changeReason === 'heartbeat' || (report.version === 'v1' && report.changeReason === 'state_delta')
  )
}

function columnsOf(report: OriginalReport): StateColumns {
  return {
    changeReason: report.changeReason === 'heartbeat' ? 'state_delta' : report.changeReason,
    currentPath: report.storePath,
    bootedPath: null,
    profilePath: null,
    generation: null,
    bootId: null,
    revision: null,
    failedUnits: null,
    agentVersion: report.agentVersion,
    nixosVersion: report.nixosVersion,
    kernel: report.kernel,
    facts: {
      agent_version: report.agentVersion,
      agent_build_hash: report.agentBuildHash,
      agent_compatible: report.agentCompatible,
      partial_data: report.partialData,
      fingerprint: fingerprintOf(report),
    },
  }
}

/** The same notion of "nothing changed" as for our own agents, with the one field that they do not have. */
function digestOf(report: OriginalReport): string {
  const digest = stateDigest({
    v: 1,
    kind: 'state',
    report_id: '',
    hostname: report.hostname,
    collected_at: '',
    change_reason: 'state_delta',
    store_path: report.storePath,
    agent_version: report.agentVersion ?? '',
    fingerprint: fingerprintOf(report),
  })
  return createHash('sha256').update(`original ${digest} ${report.agentBuildHash}`).digest('hex')
}

function fingerprintOf(report: OriginalReport): Fingerprint {
  return {
    os: report.os,
    kernel: report.kernel,
    nixos_version: report.nixosVersion,
    memory_bytes: bytesOfMib(report.memoryMib),
    cpu_cores: report.cpuCores,
    cpu_brand: report.cpuBrand,
    cpu_microcode: report.cpuMicrocode,
    board_serial: report.boardSerial,
    product_uuid: report.productUuid,
    rootfs_uuid: report.rootfsUuid,
    chassis_serial: report.chassisSerial,
    bios_version: report.biosVersion,
    network_interfaces: report.networkInterfaces.map(({ name, macAddress, ipAddresses }) => ({
      name,
      mac_address: macAddress,
      ip_addresses: [...ipAddresses],
    })),
    primary_mac_address: report.primaryMacAddress,
    primary_ip_address: report.primaryIpAddress,
    gateway_ip: report.gatewayIp,
    selinux_status: report.selinuxStatus,
    tpm_present: report.tpmPresent,
    // Agents of 0.2.x say false or null whatever the machine does.
    secure_boot_enabled: null,
    fips_mode: report.fipsMode,
  }
}

function bytesOfMib(mib: number | null): number | null {
  const bytes = mib === null ? Number.NaN : Math.round(mib * 1024 * 1024)
  return Number.isSafeInteger(bytes) ? bytes : null
}

/** Longer than a timestamp of this wire is acceptable. */
const NONCE_KEPT_MS = 15 * 60 * 1000
