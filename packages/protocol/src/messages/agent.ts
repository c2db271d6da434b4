import * as z from 'zod'
import {
  configurationName,
  envelopeJson,
  hexSha256,
  hostname,
  instant,
  line,
  namesConfiguration,
  publicKeyText,
  reportId,
  storePathText,
} from './primitives.ts'

const networkInterface = z.strictObject({
  name: line(64),
  mac_address: z
    .string()
    .regex(/^([0-9a-f]{2}:){5,19}[0-9a-f]{2}$/)
    .nullable(),
  ip_addresses: z.array(line(64)).max(32),
})

/** What the host is. Units are in the names; null is "could not be read", never a guess. */
const fingerprint = z.strictObject({
  os: line(200).nullable().optional(),
  kernel: line(200).nullable().optional(),
  nixos_version: line(200).nullable().optional(),
  memory_bytes: z.int().min(0).nullable().optional(),
  cpu_cores: z.int().min(0).max(65536).nullable().optional(),
  cpu_brand: line(200).nullable().optional(),
  cpu_microcode: line(64).nullable().optional(),
  board_serial: line(200).nullable().optional(),
  product_uuid: line(64).nullable().optional(),
  rootfs_uuid: line(64).nullable().optional(),
  chassis_serial: line(200).nullable().optional(),
  bios_version: line(200).nullable().optional(),
  network_interfaces: z.array(networkInterface).max(64).optional(),
  primary_mac_address: line(64).nullable().optional(),
  primary_ip_address: line(64).nullable().optional(),
  gateway_ip: line(64).nullable().optional(),
  selinux_status: line(64).nullable().optional(),
  tpm_present: z.boolean().nullable().optional(),
  secure_boot_enabled: z.boolean().nullable().optional(),
  fips_mode: z.boolean().nullable().optional(),
})

const common = {
  v: z.literal(1),
  report_id: reportId,
  /** May be given; must then be the system of the key. */
  system: line(64).optional(),
  hostname,
  collected_at: instant,
}

/** A full fingerprint. Sent at start and when something that is not volatile changed. */
const stateReport = z.strictObject({
  ...common,
  kind: z.literal('state'),
  change_reason: z.enum(['startup', 'config_change', 'state_delta', 'cf_deployment']),
  /** Target of /run/current-system. */
  store_path: storePathText,
  /** Target of /run/booted-system. */
  booted_path: storePathText.nullable().optional(),
  /** What the system profile points to. */
  profile_path: storePathText.nullable().optional(),
  generation: z.int().min(0).nullable().optional(),
  boot_id: line(64).nullable().optional(),
  /** `system.configurationRevision` of the running system. */
  revision: line(100).nullable().optional(),
  failed_units: z.array(line(256)).max(256).optional(),
  agent_version: line(64).optional(),
  fingerprint: fingerprint.optional(),
})

/** Nothing changed: the digest of the last accepted state stands for it. */
const heartbeatReport = z.strictObject({
  ...common,
  kind: z.literal('heartbeat'),
  /** `stateDigest` of the last state report, in hexadecimal. */
  state_digest: hexSha256,
  uptime_s: z.int().min(0).optional(),
})

/** `POST /v1/agent/reports`. */
export const agentReport: z.ZodType<AgentReport> = z.discriminatedUnion('kind', [
  stateReport,
  heartbeatReport,
])
export type StateReport = z.infer<typeof stateReport>
export type HeartbeatReport = z.infer<typeof heartbeatReport>
export type AgentReport = StateReport | HeartbeatReport
export type Fingerprint = z.infer<typeof fingerprint>

/** Answer to a report: 202 for a new one, 200 for a report id that was recorded before (with its first answer). */
export const reportAnswer: z.ZodType<ReportAnswer> = z.object({
  next_report_in_s: z.int().min(1).max(86_400),
  server_time: instant,
  /** The order this host is to carry out, or null. */
  deployment: envelopeJson.nullable(),
})
export type ReportAnswer = {
  next_report_in_s: number
  server_time: string
  deployment: z.infer<typeof envelopeJson> | null
}

/** `POST /v1/enroll`, signed with the new key (label `new`) and the one-time token's key (label `boot`). */
export const enrolRequest: z.ZodType<EnrolRequest> = z
  .strictObject({
    v: z.literal(1),
    hostname,
    public_key: publicKeyText,
    /** Which configuration of the flake the host follows; its host name when absent. */
    configuration: configurationName.optional(),
  })
  .refine(namesConfiguration, {
    path: ['configuration'],
    message: 'the host name is too long for the name of a configuration; name one',
  })
export type EnrolRequest = { v: 1; hostname: string; public_key: string; configuration?: string | undefined }
export type EnrolAnswer = { system: string; key_id: string; server_time: string }

/** `POST /v1/agent/keys`, signed with the new key (label `new`) and the present one (label `old`). */
export const rotateKeyRequest: z.ZodType<RotateKeyRequest> = z.strictObject({
  v: z.literal(1),
  hostname,
  public_key: publicKeyText,
})
export type RotateKeyRequest = { v: 1; hostname: string; public_key: string }
export type RotateKeyAnswer = { key_id: string; replaced: string; server_time: string }
