import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeBase64 } from './base64.ts'
import { canonicalJson } from './canonical-json.ts'
import { checkOrder, type HostContext } from './check-order.ts'
import {
  DEPLOYMENT_PAYLOAD_TYPE,
  type Envelope,
  parseEnvelope,
  preAuthEncoding,
  renderEnvelope,
} from './dsse.ts'
import { addSignatures, signEnvelope } from './dsse-sign.ts'
import { type TrustedKey, verifiedSigners } from './dsse-verify.ts'
import { keyId } from './keys.ts'
import { buildStatementOf, parseBuildStatement } from './provenance.ts'
import { generateKeyPair, type SecretSeed } from './secret-seed.ts'
import { verifyAttestation, verifyJobDocument } from './signed-document.ts'
import { signAttestation, signJobDocument } from './signed-document-sign.ts'
import { parseStrictJson } from './strict-json.ts'

const director = holder('director', 'control plane')
const alice = holder('operator', 'alice')
const aliceAtHome = holder('operator', 'alice')
const bob = holder('operator', 'bob')
const stranger = holder('operator', 'mallory')

const HOST: HostContext = {
  trusted: [director.key, alice.key, aliceAtHome.key, bob.key],
  operatorsMin: 1,
  tenant: 't_01',
  system: 'sys_1',
  hostname: 'web-1',
  agentKeyId: 'ed25519:own',
  lastSequence: 41,
  caches: ['https://cache.example.com', 's3://bucket'],
  now: new Date('2026-11-22T19:30:00Z'),
}

const ORDER = {
  _type: 'https://crystalforge.dev/deployment/v1',
  tenant: 't_01',
  target: { system: 'sys_1', hostname: 'web-1', agentKeyId: 'ed25519:own' },
  action: 'switch',
  toplevel: '/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-nixos-system-web-1-25.11',
  narHash: 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
  closure: { count: 1482, sha256: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae' },
  caches: ['https://cache.example.com/'],
  commit: 'a5fd3ee30236379eac5b7bc3ddc09a25aab4b59d',
  sequence: 42,
  notBefore: '2026-11-22T19:00:00Z',
  expires: '2026-11-22T21:00:00Z',
  rollback: { confirmWithin: 300, on: ['no-confirm', 'unit-failed'] },
  policy: { id: 'prod', threshold: 1 },
}

describe('an order to a host', () => {
  it('is carried out when everything holds', () => {
    expect(checkOrder(order({}), HOST)).toMatchObject({
      ok: true,
      toplevel: ORDER.toplevel,
      order: { sequence: 42 },
    })
  })

  it.each<[string, object, string]>([
    ['of another tenant', { tenant: 't_02' }, 'other_tenant'],
    ['to another system', { target: { ...ORDER.target, system: 'sys_2' } }, 'other_system'],
    ['to another host name', { target: { ...ORDER.target, hostname: 'web-2' } }, 'other_system'],
    ['to an earlier key', { target: { ...ORDER.target, agentKeyId: 'ed25519:old' } }, 'other_key'],
    ['with a spent sequence', { sequence: 41 }, 'stale_sequence'],
    ['from before its time', { notBefore: '2026-11-22T19:30:01Z' }, 'not_yet_valid'],
    ['at its end', { expires: '2026-11-22T19:30:00Z' }, 'expired'],
    ['to a path outside the store', { toplevel: '/tmp/x' }, 'bad_store_path'],
    [
      'to a path with an option for a name',
      { toplevel: ORDER.toplevel.replace('-nixos', '--nixos') },
      'bad_store_path',
    ],
    ['to a derivation', { toplevel: `${ORDER.toplevel}.drv` }, 'bad_store_path'],
    [
      'with a foreign cache',
      { caches: ['https://cache.example.com', 'https://evil.example.com'] },
      'cache_not_allowed',
    ],
    ['that asks for more operators', { policy: { id: 'prod', threshold: 2 } }, 'operators_missing'],
    ['with an unknown member', { extra: 1 }, 'malformed_order'],
    ['of another type', { _type: 'https://crystalforge.dev/deployment/v2' }, 'malformed_order'],
    ['with another action', { action: 'format' }, 'malformed_order'],
    ['with a sequence as text', { sequence: '42' }, 'malformed_order'],
    ['with a fractional sequence', { sequence: 42.5 }, 'malformed_order'],
    ['with a day that does not exist', { expires: '2026-11-31T00:00:00Z' }, 'malformed_order'],
    ['with a local time', { expires: '2026-11-22T21:00:00' }, 'malformed_order'],
    ['without caches', { caches: [] }, 'malformed_order'],
    ['with a short commit', { commit: 'a5fd3ee' }, 'malformed_order'],
  ])('is refused %s', (_what, change, code) => {
    expect(checkOrder(order(change), HOST)).toMatchObject({ ok: false, code })
  })

  it('tells its sequence once the signatures held, so that a refused one is spent too', () => {
    expect(checkOrder(order({ tenant: 't_02' }), HOST)).toMatchObject({ order: { sequence: 42 } })
    expect(checkOrder(order({ tenant: 't_02' }, [alice.seed]), HOST)).toMatchObject({ order: null })
  })

  it.each<[string, readonly SecretSeed[], number, string]>([
    ['nobody', [], 0, 'malformed_envelope'],
    ['operators alone', [alice.seed, bob.seed], 1, 'director_missing'],
    ['the director alone', [director.seed], 1, 'operators_missing'],
    ['the director and a stranger', [director.seed, stranger.seed], 1, 'operators_missing'],
    ['one person with two keys', [director.seed, alice.seed, aliceAtHome.seed], 2, 'operators_missing'],
    ['one key twice', [director.seed, alice.seed, alice.seed], 2, 'operators_missing'],
    ['two persons', [director.seed, alice.seed, bob.seed], 2, 'accepted'],
    ['two persons in another order', [bob.seed, alice.seed, director.seed], 2, 'accepted'],
  ])('counts persons, not signatures: %s', (_who, seeds, operatorsMin, code) => {
    const answer = checkOrder(order({}, seeds), { ...HOST, operatorsMin })
    expect(answer.ok ? 'accepted' : answer.code).toBe(code)
  })

  it('never needs fewer operators than the host itself asks for', () => {
    const lenient = order({ policy: { id: 'none', threshold: 0 } }, [director.seed])
    expect(checkOrder(lenient, HOST)).toMatchObject({ code: 'operators_missing' })
    expect(checkOrder(lenient, { ...HOST, operatorsMin: 0 })).toMatchObject({ ok: true })
  })

  it('fits the limit of the key service with its encoding', () => {
    const caches = Array.from({ length: 12 }, (_, at) => `https://cache.example.com/${at}${'x'.repeat(300)}`)
    expect(checkOrder(order({ caches }), HOST)).toMatchObject({ code: 'too_large' })
  })

  it('is refused as another kind of document, and when a byte of it changed', () => {
    const envelope = order({})
    expect(checkOrder({ ...envelope, payloadType: 'application/vnd.in-toto+json' }, HOST)).toMatchObject({
      code: 'wrong_payload_type',
    })
    const other = encodeBase64(new TextEncoder().encode(canonicalJson({ ...ORDER, sequence: 43 })))
    expect(checkOrder({ ...envelope, payload: other }, HOST)).toMatchObject({ code: 'director_missing' })
  })

  it('is refused when two parsers could read two orders in it', () => {
    const text = canonicalJson(ORDER).replace('"sequence":42', '"sequence":1,"sequence":42')
    expect(checkOrder(signedText(text, [director.seed, alice.seed]), HOST)).toMatchObject({
      code: 'malformed_order',
    })
  })

  it.each([null, 1, 'x', [], {}, { payloadType: 'x', payload: '', signatures: 'no' }])(
    'is not %j',
    (value) => {
      expect(checkOrder(value, HOST)).toMatchObject({ code: 'malformed_envelope' })
    },
  )
})

describe('an envelope', () => {
  it('is encoded as the DSSE specification shows', () => {
    const bytes = preAuthEncoding('http://example.com/HelloWorld', new TextEncoder().encode('hello world'))
    expect(new TextDecoder().decode(bytes)).toBe('DSSEv1 29 http://example.com/HelloWorld 11 hello world')
    expect(new TextDecoder().decode(preAuthEncoding('ä', new Uint8Array()))).toBe('DSSEv1 2 ä 0 ')
  })

  it('is encoded so that no two documents have the same bytes', () => {
    const document = fc.tuple(fc.string({ minLength: 1 }), fc.uint8Array({ maxLength: 20 }))
    fc.assert(
      fc.property(document, document, ([type, payload], [otherType, otherPayload]) => {
        const same = type === otherType && Buffer.compare(payload, otherPayload) === 0
        const a = preAuthEncoding(type, payload)
        expect(Buffer.compare(a, preAuthEncoding(otherType, otherPayload)) === 0).toBe(same)
      }),
    )
  })

  it('survives JSON, in both base64 alphabets', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (payload) => {
        const envelope = signEnvelope({ payloadType: 'x', payload }, [alice.seed])
        const json = renderEnvelope(envelope)
        expect(parseEnvelope(JSON.parse(JSON.stringify(json)))).toEqual(envelope)
        const urlSafe = json.payload.replaceAll('+', '-').replaceAll('/', '_')
        expect(parseEnvelope({ ...json, payload: urlSafe })?.payload).toEqual(payload)
      }),
      { numRuns: 30 },
    )
  })

  it('takes the key id as a hint: absent it tries all keys, unknown it tries none', () => {
    const envelope = signEnvelope({ payloadType: 'x', payload: new Uint8Array([1]) }, [alice.seed])
    const under = (hint: string | null): Envelope => ({
      ...envelope,
      signatures: envelope.signatures.map(({ bytes }) => ({ keyId: hint, bytes })),
    })
    const names = (hint: string | null) => verifiedSigners(under(hint), HOST.trusted).map((key) => key.person)
    expect(names(alice.key.keyId)).toEqual(['alice'])
    expect(names(null)).toEqual(['alice'])
    expect(names(bob.key.keyId)).toEqual([])
    expect(names('x')).toEqual([])
  })

  it('names each signer once', () => {
    const envelope = signEnvelope({ payloadType: 'x', payload: new Uint8Array() }, [
      alice.seed,
      bob.seed,
      alice.seed,
    ])
    expect(verifiedSigners(envelope, HOST.trusted).map((key) => key.person)).toEqual(['alice', 'bob'])
  })

  it('skips signatures that no key can have made', () => {
    const envelope = addSignatures({ payloadType: 'x', payload: new Uint8Array(), signatures: [] }, [
      alice.seed,
    ])
    const json = renderEnvelope(envelope)
    const noisy = {
      ...json,
      signatures: [{ sig: '' }, { keyid: 'x', sig: '???' }, ...json.signatures, { sig: 'AAAA' }],
    }
    const parsed = parseEnvelope(noisy)
    expect(parsed === null ? null : verifiedSigners(parsed, HOST.trusted)).toHaveLength(1)
  })

  it('has limits', () => {
    const signature = { sig: 'AAAA' }
    expect(parseEnvelope({ payloadType: 'x', payload: '', signatures: Array(33).fill(signature) })).toBeNull()
    expect(parseEnvelope({ payloadType: '', payload: '', signatures: [signature] })).toBeNull()
    expect(parseEnvelope({ payloadType: 'x', payload: 'AA', signatures: [signature] })).toBeNull()
    expect(
      parseEnvelope({ payloadType: 'x', payload: 'A'.repeat(1_500_000), signatures: [signature] }),
    ).toBeNull()
  })
})

describe('signed documents of builders', () => {
  const facts = {
    repository: 'https://git.example.com/o/r',
    revision: ORDER.commit,
    attribute: 'web-1',
    drvPath: '/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-x.drv',
    outputs: [{ path: ORDER.toplevel, narHash: ORDER.narHash }],
    closureSha256: ORDER.closure.sha256,
    builderKeyId: bob.key.keyId,
    nixVersion: '2.34.8',
    jobId: 'job-1',
    startedAt: new Date('2026-11-22T19:00:00Z'),
    finishedAt: new Date('2026-11-22T19:01:00Z'),
  }

  it('are taken from a pinned key, with the bytes that were signed', () => {
    const verified = verifyJobDocument(signJobDocument({ job: 1 }, director.seed), [director.key])
    expect(verified).toMatchObject({ ok: true, signer: { person: 'control plane' } })
    expect(verified.ok ? parseStrictJson(verified.payload) : null).toEqual({ job: 1 })
  })

  it('are not taken from another key, as another document, or unsigned', () => {
    const signed = signJobDocument({ job: 1 }, stranger.seed)
    expect(verifyJobDocument(signed, [director.key])).toMatchObject({ code: 'bad_signature' })
    expect(verifyAttestation(signed, [stranger.key])).toMatchObject({ code: 'wrong_payload_type' })
    expect(verifyJobDocument({ job: 1 }, [director.key])).toMatchObject({ code: 'malformed_envelope' })
  })

  it('state where a build came from', () => {
    const statement = buildStatementOf(facts)
    const verified = verifyAttestation(signAttestation(statement, bob.seed), [bob.key])
    const read = verified.ok ? parseBuildStatement(parseStrictJson(verified.payload)) : null
    expect(read).toEqual(statement)
    expect(read?.predicate.runDetails.builder.id).toContain(bob.key.keyId)
    expect(read?.subject[0]?.digest.nixNarSha256).toBe(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    )
    expect(parseBuildStatement({ ...statement, extra: 1 })).toBeNull()
  })
})

function holder(role: 'director' | 'operator', person: string) {
  const { seed, publicKey } = generateKeyPair()
  const key: TrustedKey<'director' | 'operator'> = { keyId: keyId(publicKey), publicKey, role, person }
  return { seed, key }
}

function order(change: object, seeds: readonly SecretSeed[] = [director.seed, alice.seed]) {
  return signedText(canonicalJson({ ...ORDER, ...change }), seeds)
}

function signedText(text: string, seeds: readonly SecretSeed[]) {
  const payload = new TextEncoder().encode(text)
  return renderEnvelope(signEnvelope({ payloadType: DEPLOYMENT_PAYLOAD_TYPE, payload }, seeds))
}
