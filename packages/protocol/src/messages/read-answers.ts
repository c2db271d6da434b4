import type { AgentReport, ReportAnswer } from './agent.ts'
import type { ControlFactsAnswer } from './control-facts.ts'
import type { Problem } from './problem.ts'

// What an agent reads, without the schema library: that would be a fifth of the memory of a process that only waits. The schemas are what
// holds; tests compare each of these with its schema.

/** As `reportAnswer` parses it; null when it is none. */
export function readReportAnswer(value: unknown): ReportAnswer | null {
  if (!isObject(value)) return null
  const { next_report_in_s, server_time } = value
  const deployment = value['deployment'] === null ? null : readEnvelope(value['deployment'])
  if (!isWhole(next_report_in_s) || next_report_in_s < 1 || next_report_in_s > 86_400) return null
  if (!isInstant(server_time) || deployment === undefined) return null
  return { next_report_in_s, server_time, deployment }
}

export function readControlFactsAnswer(value: unknown): ControlFactsAnswer | null {
  const server_time = isObject(value) ? value['server_time'] : undefined
  return isInstant(server_time) ? { server_time } : null
}

/** The members of a problem (RFC 9457) that an agent acts upon; null when it is none, as `problem` says. */
export function readProblem(value: unknown): Problem | null {
  if (!isObject(value)) return null
  const { type, title, status, code, detail, server_time } = value
  if (typeof type !== 'string' || typeof title !== 'string' || typeof code !== 'string' || !isWhole(status))
    return null
  if (detail !== undefined && typeof detail !== 'string') return null
  return {
    type,
    title,
    status,
    code,
    ...(detail === undefined ? {} : { detail }),
    ...(typeof server_time === 'string' ? { server_time } : {}),
  }
}

/**
 * Whether a value is a report as far as its sender must know: kind, id, host and, for a state, the system. The control plane checks the
 * rest.
 */
export function looksLikeReport(value: unknown): value is AgentReport {
  if (
    !isObject(value) ||
    value['v'] !== 1 ||
    !isReportId(value['report_id']) ||
    !isHostname(value['hostname'])
  )
    return false
  if (value['kind'] === 'heartbeat')
    return typeof value['state_digest'] === 'string' && DIGEST.test(value['state_digest'])
  return (
    value['kind'] === 'state' &&
    typeof value['store_path'] === 'string' &&
    typeof value['change_reason'] === 'string'
  )
}

/** As `hostname`. */
export function isHostname(value: unknown): value is string {
  return typeof value === 'string' && HOSTNAME.test(value)
}

/** As `reportId`. */
export function isReportId(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{16,64}$/.test(value)
}

/** Undefined when it is no envelope, as `envelopeJson` says. */
function readEnvelope(value: unknown): NonNullable<ReportAnswer['deployment']> | undefined {
  if (!isObject(value)) return undefined
  const { payloadType, payload, signatures } = value
  if (!isLine(payloadType, 200) || !isText(payload, 1_000_000) || !Array.isArray(signatures)) return undefined
  if (signatures.length > 16) return undefined
  const read = signatures.map(readSignature)
  const whole = read.filter((one) => one !== undefined)
  return whole.length === read.length ? { payloadType, payload, signatures: whole } : undefined
}

function readSignature(value: unknown): { keyid?: string; sig: string } | undefined {
  if (!isObject(value)) return undefined
  const { keyid, sig } = value
  if (!isText(sig, 200) || (keyid !== undefined && !isLine(keyid, 200))) return undefined
  return keyid === undefined ? { sig } : { keyid, sig }
}

/** RFC 3339 with a zone, and a day that exists. */
function isInstant(value: unknown): value is string {
  const [, year, month, day] = (typeof value === 'string' ? INSTANT.exec(value) : null) ?? []
  if (year === undefined) return false
  const date = new Date(Date.UTC(2000 + (Number(year) % 400), Number(month) - 1, Number(day)))
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value)
}

function isText(value: unknown, charactersMax: number): value is string {
  return typeof value === 'string' && value.length <= charactersMax
}

function isLine(value: unknown, charactersMax: number): value is string {
  return isText(value, charactersMax) && /^\P{Cc}*$/u.test(value)
}

const HOSTNAME = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/
const DIGEST = /^[0-9a-f]{64}$/
const INSTANT =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$/
