import {
  type OriginalKey,
  originalKeyName,
  parsePublicKey,
  verifyOriginalRequest,
} from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

/** The original's three routes with the tenant's switch on and every key of the file enrolled for them. */
export async function runOriginalWire(file: unknown): Promise<readonly Answer[]> {
  const top = new Facts(file)
  const context = top.object('context')
  const keys = keysOf(top.object('keys'))
  return casesOf(file).map(({ id, facts }) => {
    const now = facts.instant('now') ?? context.instant('now') ?? top.instant('now') ?? new Date()
    const route = (facts.text('path', 'route', 'target') ?? '/agent/state').replace(/^POST /, '')
    if (!ROUTES.has(route) || (facts.text('method') ?? 'POST') !== 'POST') {
      return { id, accept: false, code: 'no_route' }
    }
    const fields = facts.fields('headers', 'fields')
    const name = originalKeyName(fields)
    const key = name === null ? undefined : keys.get(name)
    const request = { fields, body: facts.bytes('body') }
    const answer = verifyOriginalRequest(request, key ?? null, { enabled: true, now })
    if (answer.ok && name !== null && key !== undefined) {
      keys.set(name, { ...key, lastTimestampMicros: answer.report.timestampMicros })
    }
    return { id, accept: answer.ok, code: answer.ok ? 'accepted' : answer.code }
  })
}

function keysOf(keys: Facts): Map<string, OriginalKey> {
  const rows = new Map<string, OriginalKey>()
  for (const hostname of keys.names()) {
    const key = keys.object(hostname)
    const publicKey = parsePublicKey(key.text('pub_b64', 'public_key') ?? '')
    if (publicKey === null) continue
    const enrolled = key.flag('legacy', 'enrolled') ?? true
    rows.set(hostname, {
      publicKey,
      hostname,
      status: key.text('status') === 'revoked' ? 'revoked' : 'active',
      allowedUntil: enrolled ? (key.instant('legacy_until', 'until') ?? FAR_FUTURE) : null,
      hasUsedNewProfile: key.flag('has_used_rfc9421', 'used_rfc9421') ?? false,
      lastTimestampMicros: null,
    })
  }
  return rows
}

const ROUTES: ReadonlySet<string> = new Set(['/agent/state', '/agent/heartbeat', '/system_state'])
const FAR_FUTURE = new Date('9999-12-31T00:00:00Z')
