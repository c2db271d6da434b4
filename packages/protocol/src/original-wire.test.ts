import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeBase64 } from './base64.ts'
import { signEd25519 } from './ed25519-sign.ts'
import type { Fields } from './http-signature/message.ts'
import {
  type OriginalKey,
  originalKeyName,
  parseOriginalReport,
  sameOriginalState,
  verifyOriginalRequest,
} from './original-wire.ts'
import { generateKeyPair } from './secret-seed.ts'

const NOW = new Date('2026-11-22T19:30:10Z')
const pair = generateKeyPair()
const KEY: OriginalKey = {
  publicKey: pair.publicKey,
  hostname: 'web-1',
  status: 'active',
  allowedUntil: new Date('2027-01-01T00:00:00Z'),
  hasUsedNewProfile: false,
  lastTimestampMicros: null,
}
const BODY = {
  id: null,
  hostname: 'web-1',
  change_reason: 'startup',
  timestamp: '2026-11-22T19:30:00.123456789Z',
  store_path: '/nix/store/abc-nixos-system-web-1',
}

describe("a report over the original's wire", () => {
  it('is taken with every check in place', () => {
    const answer = verify(BODY)
    expect(answer).toMatchObject({
      ok: true,
      report: { version: 'v2', hostname: 'web-1', changeReason: 'startup' },
    })
    expect(answer.ok ? answer.report.timestampMicros : null).toBe(1795375800123456)
  })

  it.each<[string, object, string, number]>([
    ['of another host', { hostname: 'web-2' }, 'identity_mismatch', 401],
    ['without a time', { timestamp: null }, 'malformed_body', 400],
    ['of five minutes ago', { timestamp: '2026-11-22T19:25:09Z' }, 'clock_skew', 401],
    ['of five minutes ahead', { timestamp: '2026-11-22T19:35:11Z' }, 'clock_skew', 401],
    ['with an unknown reason', { change_reason: 'boredom' }, 'malformed_body', 400],
    ['without a reason', { change_reason: null }, 'malformed_body', 400],
    ['without a store path', { store_path: null }, 'malformed_body', 400],
    ['with a path outside the store', { store_path: '/etc/passwd' }, 'malformed_body', 400],
    ['with a number for a text', { os: 1 }, 'malformed_body', 400],
  ])('is refused %s', (_what, change, code, status) => {
    expect(verify({ ...BODY, ...change })).toEqual({ ok: false, status, code })
  })

  it.each<[string, Partial<OriginalKey> | null, string]>([
    ['unknown', null, 'unknown_key'],
    ['revoked', { status: 'revoked' }, 'key_revoked'],
    ['never allowed', { allowedUntil: null }, 'not_enrolled'],
    ['allowed until now', { allowedUntil: NOW }, 'not_enrolled'],
    ['one that has moved to the new profile', { hasUsedNewProfile: true }, 'downgrade'],
    ['one whose last report is this one', { lastTimestampMicros: 1795375800123456 }, 'replayed'],
    ['one whose last report is later', { lastTimestampMicros: 1795375800123457 }, 'replayed'],
    ['another', { publicKey: generateKeyPair().publicKey }, 'bad_signature'],
  ])('is refused when the key is %s', (_what, change, code) => {
    expect(verify(BODY, change === null ? null : { ...KEY, ...change })).toMatchObject({
      ok: false,
      status: 401,
      code,
    })
  })

  it('is taken when the last one is earlier by a microsecond', () => {
    expect(verify(BODY, { ...KEY, lastTimestampMicros: 1795375800123455 })).toMatchObject({ ok: true })
  })

  it('is taken once and never out of order, whatever comes in which order', () => {
    const offset = fc.integer({ min: -400, max: 400 })
    fc.assert(
      fc.property(fc.array(offset, { maxLength: 12 }), (offsets) => {
        let key = KEY
        let highest = Number.NEGATIVE_INFINITY
        for (const seconds of offsets) {
          const timestamp = new Date(NOW.getTime() + seconds * 1000).toISOString()
          const answer = verify({ ...BODY, timestamp }, key)
          const code = Math.abs(seconds) > 300 ? 'clock_skew' : seconds <= highest ? 'replayed' : 'accepted'
          expect(answer.ok ? 'accepted' : answer.code).toBe(code)
          if (!answer.ok) continue
          highest = seconds
          key = { ...key, lastTimestampMicros: answer.report.timestampMicros }
        }
      }),
      { numRuns: 50 },
    )
  })

  it('is refused while the tenant has not switched it on', () => {
    const request = signed(JSON.stringify(BODY))
    expect(verifyOriginalRequest(request, KEY, { enabled: false, now: NOW })).toMatchObject({
      code: 'compatibility_off',
    })
  })

  it.each<[string, (fields: Fields) => Fields, string, number]>([
    ['no key name', (f) => f.filter(([name]) => name !== 'X-Key-ID'), 'unsigned', 401],
    ['no signature', (f) => f.filter(([name]) => name !== 'X-Signature'), 'unsigned', 401],
    ['two key names', (f) => [...f, ['x-key-id', 'web-1']], 'unsigned', 401],
    ['two signatures', (f) => [...f, ['x-signature', 'AAAA']], 'malformed_signature', 400],
    [
      'a signature that is no base64',
      (f) => f.map(([n, v]) => [n, n === 'X-Signature' ? '!!' : v]),
      'malformed_signature',
      400,
    ],
    [
      'a short signature',
      (f) => f.map(([n, v]) => [n, n === 'X-Signature' ? 'AAAA' : v]),
      'malformed_signature',
      400,
    ],
  ])('is refused with %s', (_what, change, code, status) => {
    const request = signed(JSON.stringify(BODY))
    const answer = verifyOriginalRequest({ ...request, fields: change(request.fields) }, KEY, {
      enabled: true,
      now: NOW,
    })
    expect(answer).toEqual({ ok: false, status, code })
  })

  it('is refused when it can be read in two ways', () => {
    const text = JSON.stringify(BODY).replace('{', '{"hostname":"web-2",')
    expect(verifyOriginalRequest(signed(text), KEY, { enabled: true, now: NOW })).toMatchObject({
      code: 'malformed_body',
    })
  })

  it('names its key only by something that is a host name', () => {
    expect(originalKeyName([['X-Key-ID', ' web-1 ']])).toBe('web-1')
    for (const name of ['', 'web-1,web-1', 'a b', '../x', 'x'.repeat(254)]) {
      expect(originalKeyName([['x-key-id', name]])).toBeNull()
    }
  })
})

describe('the body of an original agent', () => {
  const read = (change: object) =>
    parseOriginalReport(new TextEncoder().encode(JSON.stringify({ ...BODY, ...change })))

  it('has MiB in memory_gb, and interfaces as a string or as they are', () => {
    const interfaces = [{ name: 'eth0', mac_address: '02:00:00:00:00:01', ip_addresses: ['192.0.2.1'] }]
    const expected = [{ name: 'eth0', macAddress: '02:00:00:00:00:01', ipAddresses: ['192.0.2.1'] }]
    expect(read({ memory_gb: 15926.3, network_interfaces: interfaces })).toMatchObject({
      memoryMib: 15926.3,
      networkInterfaces: expected,
    })
    expect(read({ network_interfaces: JSON.stringify(interfaces) })?.networkInterfaces).toEqual(expected)
    expect(read({ network_interfaces: 'eth0' })?.networkInterfaces).toEqual([])
    expect(read({ network_interfaces: 5 })).toBeNull()
  })

  it.each([
    ['agent-startup', 'startup'],
    ['agent-loop', 'config_change'],
    ['agent-heartbeat', 'state_delta'],
  ])('of the first version says %s', (context, changeReason) => {
    const { change_reason: _, ...rest } = BODY
    const report = parseOriginalReport(new TextEncoder().encode(JSON.stringify({ ...rest, context })))
    expect(report).toMatchObject({ version: 'v1', changeReason, agentCompatible: false, partialData: true })
  })

  it('ignores fields that it does not know', () => {
    expect(read({ whatever: { a: [1] } })).not.toBeNull()
  })

  it('is the same state when only time, uptime, reason and version flags differ', () => {
    const one = read({ uptime_secs: 1 })
    const later = read({
      uptime_secs: 900,
      id: 7,
      change_reason: 'heartbeat',
      timestamp: '2026-11-22T19:40:00Z',
      agent_compatible: false,
    })
    const other = read({ kernel: '6.12' })
    if (one === null || later === null || other === null) throw new Error('all three are reports')
    expect(sameOriginalState(one, later)).toBe(true)
    expect(sameOriginalState(one, other)).toBe(false)
  })
})

function signed(text: string): { fields: Fields; body: Uint8Array } {
  const body = new TextEncoder().encode(text)
  const fields: Fields = [
    ['X-Key-ID', 'web-1'],
    ['X-Signature', encodeBase64(signEd25519(body, pair.seed))],
  ]
  return { fields, body }
}

function verify(body: object, key: OriginalKey | null = KEY) {
  return verifyOriginalRequest(signed(JSON.stringify(body)), key, { enabled: true, now: NOW })
}
