import type { HeartbeatReport, StateReport } from '@crystal-forge/protocol'
import { AGENT_VERSION } from './agent-version.ts'
import type { Observation } from './observe.ts'

/** What distinguishes one message from another about the same host. */
export type Stamp = { readonly reportId: string; readonly at: Date }

export function stateReport(
  seen: Observation,
  changeReason: StateReport['change_reason'],
  stamp: Stamp,
): StateReport {
  return {
    v: 1,
    kind: 'state',
    report_id: stamp.reportId,
    hostname: seen.hostname,
    collected_at: stamp.at.toISOString(),
    change_reason: changeReason,
    store_path: seen.paths.current,
    booted_path: seen.paths.booted,
    profile_path: seen.paths.profile,
    generation: seen.paths.generation,
    boot_id: seen.bootId,
    revision: seen.revision,
    ...(seen.failedUnits === undefined ? {} : { failed_units: seen.failedUnits }),
    agent_version: AGENT_VERSION,
    fingerprint: seen.fingerprint,
  }
}

/** At most 300 bytes as JSON (for host names that Linux allows: 64 characters). */
export function heartbeatReport(seen: Observation, stateDigest: string, stamp: Stamp): HeartbeatReport {
  return {
    v: 1,
    kind: 'heartbeat',
    report_id: stamp.reportId,
    hostname: seen.hostname,
    collected_at: stamp.at.toISOString(),
    state_digest: stateDigest,
    ...(seen.uptimeSeconds === null ? {} : { uptime_s: seen.uptimeSeconds }),
  }
}
