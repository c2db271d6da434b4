import * as z from 'zod'
import { decodeBase64 } from './base64.ts'
import { verifyEd25519 } from './ed25519-verify.ts'
import { type Fields, fieldLines } from './http-signature/message.ts'
import { parseStrictJson } from './strict-json.ts'
import { parseTimestampMicros } from './timestamp.ts'

/** The key of a host that still speaks the original's wire, as stored. */
export type OriginalKey = {
  readonly publicKey: Uint8Array
  readonly hostname: string
  readonly status: 'active' | 'revoked'
  /** Until when this key may use the original's wire; null when it was never allowed. */
  readonly allowedUntil: Date | null
  /** A key that has signed a request of the new profile does not go back. */
  readonly hasUsedNewProfile: boolean
  /** Timestamp of the last accepted report on any of the three routes. It makes each signature good for once. */
  readonly lastTimestampMicros: number | null
}

export type OriginalRefusal = {
  readonly ok: false
  /** The original's codes: 401 for who, 400 for what. */
  readonly status: 400 | 401
  readonly code: OriginalRefusalCode
}

export type OriginalRefusalCode =
  | 'compatibility_off'
  | 'unsigned'
  | 'too_large'
  | 'malformed_signature'
  | 'unknown_key'
  | 'key_revoked'
  | 'not_enrolled'
  | 'downgrade'
  | 'bad_signature'
  | 'malformed_body'
  | 'identity_mismatch'
  | 'clock_skew'
  | 'replayed'

export type OriginalAccepted = { readonly ok: true; readonly report: OriginalReport }

/**
 * Decides about a report of an original 0.2.x agent (`POST /agent/state`, `/agent/heartbeat`, `/system_state`): Ed25519 over the
 * body alone, key by host name, so freshness rests on the body's timestamp. Pure; the caller advances `lastTimestampMicros`
 * by compare-and-swap when it stores the report, and marks what it stores as legacy.
 * @param key the row for `originalKeyName(fields)`, or null.
 */
export function verifyOriginalRequest(
  request: { readonly fields: Fields; readonly body: Uint8Array },
  key: OriginalKey | null,
  policy: { readonly enabled: boolean; readonly now: Date },
): OriginalAccepted | OriginalRefusal {
  if (!policy.enabled) return refusal(401, 'compatibility_off')
  if (request.body.length > ORIGINAL_BODY_BYTES_MAX) return refusal(400, 'too_large')
  const signatures = fieldLines(request.fields, 'x-signature')
  const [text] = signatures
  if (originalKeyName(request.fields) === null || text === undefined || text === '')
    return refusal(401, 'unsigned')
  const signature = signatures.length === 1 ? decodeBase64(text) : null
  if (signature === null || signature.length !== 64) return refusal(400, 'malformed_signature')
  const refused = checkKey(key, policy.now)
  if (key === null || refused !== null) return refused ?? refusal(401, 'unknown_key')
  if (!verifyEd25519({ message: request.body, publicKey: key.publicKey, signature })) {
    return refusal(401, 'bad_signature')
  }
  const report = parseOriginalReport(request.body)
  if (report === null) return refusal(400, 'malformed_body')
  return checkFreshness(report, key, policy.now) ?? { ok: true, report }
}

/** The one value of `X-Key-ID`, or null when it is absent, repeated or no host name. */
export function originalKeyName(fields: Fields): string | null {
  const names = fieldLines(fields, 'x-key-id')
  const [name] = names
  return names.length === 1 && name !== undefined && /^[A-Za-z0-9._-]{1,253}$/.test(name) ? name : null
}

/** A report of an original agent in our words. Absent and null are both null. */
export type OriginalReport = {
  /** `v1` agents send `context`; they are answered 202. */
  readonly version: 'v1' | 'v2'
  readonly hostname: string
  readonly changeReason: OriginalChangeReason
  readonly timestampMicros: number
  readonly storePath: string
  readonly os: string | null
  readonly kernel: string | null
  readonly nixosVersion: string | null
  /** The field is called `memory_gb` and holds MiB in every 0.2.x agent. */
  readonly memoryMib: number | null
  readonly uptimeSeconds: number | null
  readonly cpuBrand: string | null
  readonly cpuCores: number | null
  readonly cpuMicrocode: string | null
  readonly boardSerial: string | null
  readonly productUuid: string | null
  readonly rootfsUuid: string | null
  readonly chassisSerial: string | null
  readonly biosVersion: string | null
  readonly networkInterfaces: readonly OriginalInterface[]
  readonly primaryMacAddress: string | null
  readonly primaryIpAddress: string | null
  readonly gatewayIp: string | null
  readonly selinuxStatus: string | null
  readonly tpmPresent: boolean | null
  readonly fipsMode: boolean | null
  readonly agentVersion: string | null
  readonly agentBuildHash: string | null
  readonly agentCompatible: boolean
  readonly partialData: boolean
}

/** `heartbeat` is what agents send when nothing changed; a `v1` heartbeat arrives as `state_delta`. */
export type OriginalChangeReason = 'startup' | 'config_change' | 'state_delta' | 'cf_deployment' | 'heartbeat'

export type OriginalInterface = {
  readonly name: string
  readonly macAddress: string | null
  readonly ipAddresses: readonly string[]
}

/** Reads a body; null when it is not one. Secure boot is left out: 0.2.x agents always say false or null. */
export function parseOriginalReport(body: Uint8Array): OriginalReport | null {
  const data = jsonOrNull(body)
  const parsed = originalBody.safeParse(data)
  if (!parsed.success) return null
  const wire = parsed.data
  const timestampMicros = parseTimestampMicros(wire.timestamp)
  const version = wire.change_reason == null && wire.context != null ? 'v1' : 'v2'
  const changeReason =
    version === 'v1' ? V1_REASONS.get(wire.context ?? '') : V2_REASONS.get(wire.change_reason ?? '')
  const networkInterfaces = parseInterfaces(wire.network_interfaces)
  if (timestampMicros === null || changeReason === undefined || networkInterfaces === null) return null
  return {
    version,
    hostname: wire.hostname,
    changeReason,
    timestampMicros,
    storePath: wire.store_path,
    ...describeMachine(wire),
    networkInterfaces,
    agentCompatible: version === 'v2' && (wire.agent_compatible ?? true),
    partialData: version === 'v1' || (wire.partial_data ?? false),
  }
}

/**
 * Whether a heartbeat says something new. Identity, time and the two flags of the agent's own version do not count.
 * A heartbeat that differs is stored as a state with the reason `state_delta`.
 */
export function sameOriginalState(a: OriginalReport, b: OriginalReport): boolean {
  return comparable(a) === comparable(b)
}

function comparable(report: OriginalReport): string {
  const { version: _v, timestampMicros: _t, uptimeSeconds: _u, changeReason: _c, ...rest } = report
  const { agentCompatible: _a, partialData: _p, ...state } = rest
  return JSON.stringify(state)
}

function checkKey(key: OriginalKey | null, now: Date): OriginalRefusal | null {
  if (key === null) return refusal(401, 'unknown_key')
  if (key.status === 'revoked') return refusal(401, 'key_revoked')
  if (key.hasUsedNewProfile) return refusal(401, 'downgrade')
  return key.allowedUntil === null || key.allowedUntil <= now ? refusal(401, 'not_enrolled') : null
}

function checkFreshness(report: OriginalReport, key: OriginalKey, now: Date): OriginalRefusal | null {
  if (report.hostname !== key.hostname) return refusal(401, 'identity_mismatch')
  if (Math.abs(now.getTime() * 1000 - report.timestampMicros) > WINDOW_MICROS)
    return refusal(401, 'clock_skew')
  const last = key.lastTimestampMicros
  return last !== null && report.timestampMicros <= last ? refusal(401, 'replayed') : null
}

function describeMachine(wire: OriginalBody) {
  return {
    os: wire.os ?? null,
    kernel: wire.kernel ?? null,
    nixosVersion: wire.nixos_version ?? null,
    memoryMib: wire.memory_gb ?? null,
    uptimeSeconds: wire.uptime_secs ?? null,
    cpuBrand: wire.cpu_brand ?? null,
    cpuCores: wire.cpu_cores ?? null,
    cpuMicrocode: wire.cpu_microcode ?? null,
    boardSerial: wire.board_serial ?? null,
    productUuid: wire.product_uuid ?? null,
    rootfsUuid: wire.rootfs_uuid ?? null,
    chassisSerial: wire.chassis_serial ?? null,
    biosVersion: wire.bios_version ?? null,
    primaryMacAddress: wire.primary_mac_address ?? null,
    primaryIpAddress: wire.primary_ip_address ?? null,
    gatewayIp: wire.gateway_ip ?? null,
    selinuxStatus: wire.selinux_status ?? null,
    tpmPresent: wire.tpm_present ?? null,
    fipsMode: wire.fips_mode ?? null,
    agentVersion: wire.agent_version ?? null,
    agentBuildHash: wire.agent_build_hash ?? null,
  }
}

/** The field is an array, or a string that holds one; anything unreadable inside the string counts as no interfaces. */
function parseInterfaces(value: unknown): readonly OriginalInterface[] | null {
  if (value === null || value === undefined || value === '') return []
  const data = typeof value === 'string' ? jsonOrNull(new TextEncoder().encode(value)) : value
  const parsed = z.array(originalInterface).max(256).safeParse(data)
  if (!parsed.success) return typeof value === 'string' ? [] : null
  return parsed.data.map(({ name, mac_address, ip_addresses }) => ({
    name,
    macAddress: mac_address ?? null,
    ipAddresses: ip_addresses ?? [],
  }))
}

function jsonOrNull(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes)
  } catch {
    return null
  }
}

function refusal(status: 400 | 401, code: OriginalRefusalCode): OriginalRefusal {
  return { ok: false, status, code }
}

/** The original's limit. */
export const ORIGINAL_BODY_BYTES_MAX: number = 2 * 1024 * 1024

const WINDOW_MICROS = 300 * 1_000_000

const V1_REASONS: ReadonlyMap<string, OriginalChangeReason> = new Map([
  ['agent-startup', 'startup'],
  ['agent-loop', 'config_change'],
  ['agent-heartbeat', 'state_delta'],
])
const V2_REASONS: ReadonlyMap<string, OriginalChangeReason> = new Map([
  ['startup', 'startup'],
  ['config_change', 'config_change'],
  ['state_delta', 'state_delta'],
  ['cf_deployment', 'cf_deployment'],
  ['heartbeat', 'heartbeat'],
])

const text = z.string().max(4096).nullish()
const flag = z.boolean().nullish()
const originalInterface = z.object({
  name: z.string().max(256),
  mac_address: text,
  ip_addresses: z.array(z.string().max(256)).max(256).nullish(),
})

type OriginalBody = z.output<typeof originalBody>
const originalBody = z.object({
  hostname: z.string().min(1).max(253),
  change_reason: text,
  context: text,
  timestamp: z.string().max(64),
  /** Not a checked store path: the original never looked at its shape. */
  store_path: z.string().regex(/^\/nix\/store\/[0-9A-Za-z+\-._?=]{1,250}$/),
  os: text,
  kernel: text,
  nixos_version: text,
  memory_gb: z.number().nonnegative().nullish(),
  uptime_secs: z.int().nullish(),
  cpu_cores: z.int().nullish(),
  cpu_brand: text,
  cpu_microcode: text,
  board_serial: text,
  product_uuid: text,
  rootfs_uuid: text,
  chassis_serial: text,
  bios_version: text,
  network_interfaces: z.unknown().optional(),
  primary_mac_address: text,
  primary_ip_address: text,
  gateway_ip: text,
  selinux_status: text,
  tpm_present: flag,
  fips_mode: flag,
  agent_version: text,
  agent_build_hash: text,
  agent_compatible: flag,
  partial_data: flag,
})
