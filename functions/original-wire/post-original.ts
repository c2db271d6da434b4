import {
  type OriginalReports,
  type OriginalRoute,
  type OriginalSender,
  recordOriginalReport,
} from '@crystal-forge/control-plane'
import {
  decodeBase64,
  type OriginalAccepted,
  type OriginalRefusal,
  originalKeyName,
  verifyOriginalRequest,
} from '@crystal-forge/protocol'
import { type Endpoint, type HttpRequest, problem, type Reply } from '../http-api.ts'
import type { Log } from '../log.ts'

export type OriginalParts = {
  readonly reports: OriginalReports
  readonly now: () => Date
  readonly log: Log
}

/** A report of an original 0.2.x agent. Replies keep the original's shape and codes. */
export function postOriginal(route: OriginalRoute, { reports, now, log }: OriginalParts): Endpoint {
  return async (request) => {
    const receivedAt = now()
    const name = originalKeyName(request.headers)
    const senders = name === null ? [] : await reports.findSenders(name, SENDERS_MAX)
    const recognised = recognise(request, senders, receivedAt)
    if (!recognised.ok) {
      log('warn', 'original wire: refused', { hostname: name, code: recognised.code })
      return refused(recognised)
    }
    const { sender, report, signature } = recognised
    const arrival = { sender, receivedAt, body: request.body, http: unsignedHttp(request), signature }
    const record = recordOriginalReport(report, route, arrival)
    const { kind } = await reports.ingest(record, report.timestampMicros)
    switch (kind) {
      case 'recorded':
      case 'duplicate':
        return accepted(route, report.version)
      case 'stale':
      case 'replayed':
      case 'refused':
        log('warn', 'original wire: refused', { hostname: name, code: kind })
        return refused({ ok: false, status: 401, code: 'replayed' })
      case 'state_required':
        throw new Error('a report of the original carries its state and cannot lack it')
    }
  }
}

type Recognised =
  | (OriginalAccepted & { readonly sender: OriginalSender['sender']; readonly signature: Uint8Array })
  | OriginalRefusal

/** Tries the key of each tenant that knows this host. At most one of them made the signature. */
function recognise(request: HttpRequest, senders: readonly OriginalSender[], now: Date): Recognised {
  const message = { fields: request.headers, body: request.body }
  let refusal: Recognised = { ok: false, status: 401, code: 'unknown_key' }
  for (const one of [...senders, null]) {
    const enabled = one === null || (one.tenantUntil !== null && one.tenantUntil > now)
    const answer = verifyOriginalRequest(message, one?.key ?? null, { enabled, now })
    if (!answer.ok && AFTER_SIGNATURE.has(answer.code)) return answer
    if (!answer.ok) refusal = one === null && senders.length > 0 ? refusal : answer
    else if (hasNul(answer.report)) return { ok: false, status: 400, code: 'malformed_body' }
    else if (one !== null) return { ...answer, sender: one.sender, signature: signatureOf(request) }
  }
  return refusal
}

/** PostgreSQL has no text with NUL, and no agent sends it. */
function hasNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0')
  return typeof value === 'object' && value !== null && Object.values(value).some(hasNul)
}

function signatureOf(request: HttpRequest): Uint8Array {
  return (
    decodeBase64(request.headers.find(([name]) => name === 'x-signature')?.[1].trim() ?? '') ??
    new Uint8Array()
  )
}

/** In the event: this signature covers the body alone. */
function unsignedHttp(request: HttpRequest): object {
  const field = (wanted: string): string => request.headers.find(([name]) => name === wanted)?.[1] ?? ''
  const { method, path } = request
  return { method, path, keyName: field('x-key-id'), signature: field('x-signature') }
}

function accepted(route: OriginalRoute, version: 'v1' | 'v2'): Reply {
  const status = version === 'v1' ? 202 : 200
  // Old agents act on any path that they are told, unverified; so they are told none.
  return route === 'heartbeat' ? { status, body: { desired_target: null } } : { status }
}

/** One answer for all that concerns who sent it. The log has the reason. */
function refused({ status, code }: OriginalRefusal): Reply {
  return status === 401
    ? problem(
        401,
        'signature_refused',
        'the signature does not verify with a key that may use this interface now',
      )
    : problem(status, code, 'see the 0.2.x agent interface in docs/protocol.md')
}

/** Found out once the signature held: this key is the sender's, and no other needs to be tried. */
const AFTER_SIGNATURE: ReadonlySet<OriginalRefusal['code']> = new Set([
  'malformed_body',
  'identity_mismatch',
  'clock_skew',
  'replayed',
])

/** A host name that more tenants than this know is not served over a wire that cannot say which one is meant. */
const SENDERS_MAX = 8
