import { createHash } from 'node:crypto'
import { Point } from '@noble/ed25519'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { encodeBase64 } from '../base64.ts'
import { contentDigest } from '../content-digest.ts'
import { signEd25519 } from '../ed25519-sign.ts'
import { keyId } from '../keys.ts'
import { generateKeyPair, parseSeed, type SecretSeed } from '../secret-seed.ts'
import { parseDictionary } from '../structured-fields.ts'
import { signatureBase } from './base.ts'
import { checkIdentity, parseSignedBody } from './body.ts'
import type { Fields, SignedRequest } from './message.ts'
import { isPlainTarget, type RequestTag } from './profile.ts'
import { publicRefusal, type Refusal } from './refusal.ts'
import { signRequest, signRequestTwice } from './sign.ts'
import { type KeyRecord, verifyRequest, verifyTwoKeyRequest } from './verify.ts'

const NOW = new Date('2026-11-22T19:30:00Z')
const SECONDS = NOW.getTime() / 1000
const AUTHORITY = 'api.cf.example.com'
const TAG: RequestTag = 'crystal-forge-agent-v1'
const BODY = new TextEncoder().encode('{"v":1}')
const COVERED = '"@method" "@authority" "@path" "@query" "content-type" "content-digest"'

const web1 = freshKey()
const web2 = freshKey()
const revoked = freshKey()
const KEYS: ReadonlyMap<string, KeyRecord<string>> = new Map([
  [web1.id, { status: 'active', publicKey: web1.publicKey, principal: 'sys_1' }],
  [web2.id, { status: 'active', publicKey: web2.publicKey, principal: 'sys_2' }],
  [revoked.id, { status: 'revoked', publicKey: revoked.publicKey, principal: 'sys_3' }],
])

describe('a signed request', () => {
  it('is taken from the key that signed it', async () => {
    const answer = await check(signed())
    expect(answer).toEqual({
      ok: true,
      keyId: web1.id,
      principal: 'sys_1',
      nonce: 'n'.repeat(22),
      created: SECONDS,
      expires: SECONDS + 60,
      replayUntil: new Date((SECONDS + 121) * 1000),
    })
  })

  it('is taken for any method, target and body, and refused once a byte changes anywhere', async () => {
    const target = fc.constantFrom('/', '/v1/a', '/v1/a?x=1&y=%20', '/v1/a-b_c~d.e?')
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('GET', 'POST', 'DELETE'),
        target,
        fc.uint8Array({ maxLength: 64 }),
        fc.nat(),
        fc.integer({ min: 1, max: 127 }),
        async (method, path, body, place, flip) => {
          const request = signed({ method, target: path, body })
          expect(await check(request)).toMatchObject({ ok: true })
          const fields = request.fields
          const which = place % fields.length
          const changed = fields.map(([name, value], at): [string, string] =>
            at === which ? [name, flipped(value, place, flip)] : [name, value],
          )
          expect(await check({ ...request, fields: changed })).toMatchObject({ ok: false })
          if (body.length > 0) {
            const other = body.map((byte, at) => (at === place % body.length ? byte ^ flip : byte))
            expect(await check({ ...request, body: other })).toMatchObject({ code: 'digest_mismatch' })
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  it.each<[string, (request: SignedRequest) => SignedRequest, string, number]>([
    ['another method', (r) => ({ ...r, method: 'PUT' }), 'bad_signature', 401],
    ['another method in lower case', (r) => ({ ...r, method: 'post' }), 'bad_signature', 401],
    ['another path', (r) => ({ ...r, target: '/v1/other' }), 'bad_signature', 401],
    ['an added query', (r) => ({ ...r, target: `${r.target}?a=1` }), 'bad_signature', 401],
    ['another host', (r) => ({ ...r, authority: 'evil.example.com' }), 'bad_signature', 401],
    ['another port', (r) => ({ ...r, authority: `${AUTHORITY}:8443` }), 'bad_signature', 401],
    ['another body', (r) => ({ ...r, body: new Uint8Array([1]) }), 'digest_mismatch', 400],
    ['no signature', (r) => without(r, 'signature'), 'unsigned', 401],
    ['no signature input', (r) => without(r, 'signature-input'), 'unsigned', 401],
    ['no content type', (r) => without(r, 'content-type'), 'components', 401],
    ['no content digest', (r) => without(r, 'content-digest'), 'components', 401],
    ['a repeated signature', (r) => repeated(r, 'signature'), 'malformed_signature', 401],
    ['a repeated signature input', (r) => repeated(r, 'signature-input'), 'malformed_signature_input', 401],
    ['a repeated digest', (r) => repeated(r, 'content-digest'), 'digest_mismatch', 400],
    ['a repeated content type', (r) => repeated(r, 'content-type'), 'duplicate_header', 400],
    ['a signature joined by a gateway', (r) => joined(r, 'signature'), 'malformed_signature', 401],
    ['an input joined by a gateway', (r) => joined(r, 'signature-input'), 'malformed_signature_input', 401],
    ['a digest joined by a gateway', (r) => joined(r, 'content-digest'), 'bad_signature', 401],
    ['gzip', (r) => withField(r, 'Content-Encoding', 'gzip'), 'encoding_not_allowed', 415],
    ['a body of more than 1 MiB', (r) => ({ ...r, body: new Uint8Array(1024 * 1024 + 1) }), 'too_large', 413],
    ['headers of more than 16 KiB', (r) => withField(r, 'x-filler', 'x'.repeat(16 * 1024)), 'too_large', 431],
    [
      'a signature of more than 8 KiB',
      (r) => withField(without(r, 'signature'), 'signature', 'x'.repeat(8193)),
      'too_large',
      431,
    ],
    [
      'a signature under another label',
      (r) => edited(r, 'signature', 'cf=', 'cg='),
      'malformed_signature',
      401,
    ],
    ['a second signature', (r) => edited(r, 'signature', /$/, ', b=:AAAA:'), 'malformed_signature', 401],
    ['a second input', (r) => edited(r, 'signature-input', /$/, ', b=()'), 'malformed_signature_input', 401],
    ['a parameter on the signature', (r) => edited(r, 'signature', /$/, ';a=1'), 'malformed_signature', 401],
    ['a short signature', (r) => edited(r, 'signature', /:.*:/, ':AAAA:'), 'malformed_signature', 401],
    ['a signature as text', (r) => edited(r, 'signature', /:.*:/, '"AAAA"'), 'malformed_signature', 401],
    [
      'a signature of zeros',
      (r) => edited(r, 'signature', /:.*:/, `:${'A'.repeat(86)}==:`),
      'bad_signature',
      401,
    ],
    [
      'base64 that is not canonical',
      (r) => edited(r, 'signature', /.==:$/, 'B==:'),
      'malformed_signature',
      401,
    ],
    [
      'an input that is no list',
      (r) => edited(r, 'signature-input', /=.*/, '=1'),
      'malformed_signature_input',
      401,
    ],
    [
      'an input that is no dictionary',
      (r) => edited(r, 'signature-input', /.*/, '((('),
      'malformed_signature_input',
      401,
    ],
    [
      'an edited time',
      (r) => edited(r, 'signature-input', /created=\d+/, `created=${SECONDS - 1}`),
      'bad_signature',
      401,
    ],
  ])('is refused with %s', async (_what, change, code, status) => {
    expect(await check(change(signed()))).toMatchObject({ ok: false, code, status })
  })

  it.each(['identity', 'Identity'])('may say Content-Encoding: %s', async (encoding) => {
    expect(await check(withField(signed(), 'content-encoding', encoding))).toMatchObject({ ok: true })
  })

  it.each([
    '/v1//a',
    '/v1/../a',
    '/v1/./a',
    '/v1/.',
    '/v1/%61',
    '/v1/a%2fb',
    '/v1/a b',
    '/v1/ä',
    '/v1/a;b',
    '/v1/a\\b',
    'v1/a',
    '',
    '*',
    'https://api.cf.example.com/v1/a',
    '//evil.example.com/a',
    '/v1/a#b',
    '/v1/a?b#c',
    '/v1/a?b c',
    '/v1/a?b\n',
  ])('is refused before anything else for the target %j', async (target) => {
    expect(isPlainTarget(target)).toBe(false)
    expect(await check({ ...signed(), target, fields: [] })).toMatchObject({
      code: 'bad_target',
      status: 400,
    })
    expect(() => signed({ target })).toThrow(RangeError)
  })
})

describe('the parameters of a signature', () => {
  it.each<[string, string, string]>([
    [
      'in any order of components',
      `("content-digest" "content-type" "@query" "@path" "@authority" "@method")${parameters()}`,
      'accepted',
    ],
    [
      'with more components',
      `(${COVERED} "x-more" "@scheme" "@target-uri" "@request-target")${parameters()}`,
      'accepted',
    ],
    ['with a component that is absent', `(${COVERED} "x-absent")${parameters()}`, 'components'],
    ['with an unknown derived component', `(${COVERED} "@weather")${parameters()}`, 'components'],
    ['with a status', `(${COVERED} "@status")${parameters()}`, 'components'],
    ['with a name in upper case', `(${COVERED} "X-More")${parameters()}`, 'components'],
    [
      'without the method',
      `("@authority" "@path" "@query" "content-type" "content-digest")${parameters()}`,
      'components',
    ],
    [
      'without the query',
      `("@method" "@authority" "@path" "content-type" "content-digest")${parameters()}`,
      'components',
    ],
    ['with nothing covered', `()${parameters()}`, 'components'],
    [
      'with a parameter on a component',
      `(${COVERED.replace('"content-type"', '"content-type";bs')})${parameters()}`,
      'components',
    ],
    [
      'with req on the method',
      `(${COVERED.replace('"@method"', '"@method";req')})${parameters()}`,
      'components',
    ],
    ['with a component twice', `(${COVERED} "@path")${parameters()}`, 'malformed_signature_input'],
    ['with a token for a name', `(${COVERED} date)${parameters()}`, 'malformed_signature_input'],
    ['without created', `(${COVERED})${parameters({ created: null })}`, 'missing_parameter'],
    ['without expires', `(${COVERED})${parameters({ expires: null })}`, 'missing_parameter'],
    ['without nonce', `(${COVERED})${parameters({ nonce: null })}`, 'missing_parameter'],
    ['without keyid', `(${COVERED})${parameters({ keyid: null })}`, 'missing_parameter'],
    ['without alg', `(${COVERED})${parameters({ alg: null })}`, 'missing_parameter'],
    ['without tag', `(${COVERED})${parameters({ tag: null })}`, 'missing_parameter'],
    ['with one more', `(${COVERED})${parameters()};x=1`, 'malformed_signature_input'],
    ['with one twice', `(${COVERED})${parameters()};created=1`, 'malformed_signature_input'],
    [
      'with a time as text',
      `(${COVERED})${parameters({ created: `"${SECONDS}"` })}`,
      'malformed_signature_input',
    ],
    [
      'with a fraction of a second',
      `(${COVERED})${parameters({ created: `${SECONDS}.5` })}`,
      'malformed_signature_input',
    ],
    [
      'with a huge time',
      `(${COVERED})${parameters({ created: '9999999999999999' })}`,
      'malformed_signature_input',
    ],
    ['with a negative time', `(${COVERED})${parameters({ created: '-1' })}`, 'clock_skew'],
    [
      'with a key id that is a token',
      `(${COVERED})${parameters({ keyid: 'web-1' })}`,
      'malformed_signature_input',
    ],
    ['with a short nonce', `(${COVERED})${parameters({ nonce: `"${'n'.repeat(21)}"` })}`, 'nonce'],
    ['with a nonce of 64', `(${COVERED})${parameters({ nonce: `"${'n'.repeat(64)}"` })}`, 'accepted'],
    ['with a nonce of 65', `(${COVERED})${parameters({ nonce: `"${'n'.repeat(65)}"` })}`, 'nonce'],
    [
      'with a nonce of other letters',
      `(${COVERED})${parameters({ nonce: `"${'n'.repeat(21)}+"` })}`,
      'nonce',
    ],
    ['with RSA', `(${COVERED})${parameters({ alg: '"rsa-v1_5-sha256"' })}`, 'algorithm'],
    ['with an algorithm in capitals', `(${COVERED})${parameters({ alg: '"Ed25519"' })}`, 'algorithm'],
    ['with the tag of builders', `(${COVERED})${parameters({ tag: '"crystal-forge-builder-v1"' })}`, 'tag'],
    [
      'with an unknown key',
      `(${COVERED})${parameters({ keyid: `"ed25519:${'A'.repeat(43)}"` })}`,
      'unknown_key',
    ],
    ['with a host name for a key', `(${COVERED})${parameters({ keyid: '"web-1"' })}`, 'unknown_key'],
    ['with a key of the prototype', `(${COVERED})${parameters({ keyid: '"__proto__"' })}`, 'unknown_key'],
    ['with the id of another key', `(${COVERED})${parameters({ keyid: `"${web2.id}"` })}`, 'bad_signature'],
    [
      'with more white space',
      `( ${COVERED.replaceAll(' ', '   ')} )${parameters().replaceAll(';', ';  ')}`,
      'accepted',
    ],
  ])('are judged %s', async (_what, input, code) => {
    expect(codeOf(await check(signedBy(web1.seed, input)))).toBe(code)
  })

  it('refuse a revoked key, whatever it signs', async () => {
    const input = `(${COVERED})${parameters({ keyid: `"${revoked.id}"` })}`
    expect(codeOf(await check(signedBy(revoked.seed, input)))).toBe('key_revoked')
    expect(codeOf(await check(signedBy(web1.seed, input)))).toBe('key_revoked')
  })

  it.each<[created: number, expires: number, code: string]>([
    [60, 61, 'accepted'],
    [61, 62, 'clock_skew'],
    [-300, 0, 'accepted'],
    [-301, -1, 'clock_skew'],
    [-120, -60, 'accepted'],
    [-120, -61, 'expired'],
    [0, 300, 'accepted'],
    [0, 301, 'malformed_signature_input'],
    [0, 0, 'malformed_signature_input'],
    [0, -1, 'malformed_signature_input'],
    [0, 1, 'accepted'],
  ])('created %d s and expires %d s from now: %s', async (created, expires, code) => {
    const times = { created: `${SECONDS + created}`, expires: `${SECONDS + expires}` }
    const answer = await check(signedBy(web1.seed, `(${COVERED})${parameters(times)}`))
    expect(codeOf(answer)).toBe(code)
    const carriesTime = code === 'clock_skew' || code === 'expired'
    expect('serverTime' in answer).toBe(carriesTime)
  })
})

describe('what is checked once the sender is known', () => {
  it('is the host that was meant', async () => {
    const request = signed({ authority: 'other.example.com' })
    expect(await check({ ...request, authority: 'other.example.com' })).toMatchObject({
      code: 'wrong_authority',
    })
  })

  it.each(['API.cf.Example.com', `${AUTHORITY}:443`])(
    'is not the spelling %s of the host',
    async (authority) => {
      expect(await check({ ...signed(), authority })).toMatchObject({ ok: true })
    },
  )

  it.each([
    'text/plain',
    'application/json-seq',
    'application/json, application/json',
    'application/json; charset=latin1',
  ])('is the media type, so not %j', async (contentType) => {
    expect(await check(signed({ contentType }))).toMatchObject({
      code: 'media_type_not_allowed',
      status: 415,
    })
  })

  it('is the body as strict JSON and then as what the route takes', () => {
    const schema = z.strictObject({ v: z.literal(1) })
    const read = (text: string) => parseSignedBody(new TextEncoder().encode(text), schema)
    expect(read('{"v":1}')).toEqual({ ok: true, value: { v: 1 } })
    expect(read('{"v":1,"v":1}')).toMatchObject({ code: 'malformed_json', status: 400 })
    expect(read('{"v":2}')).toMatchObject({ code: 'invalid_body', status: 400 })
    expect(read('{"v":1,"w":1}')).toMatchObject({ code: 'invalid_body' })
  })

  it('is that the body names nobody else', () => {
    const own = { system: 'sys_1', hostname: 'web-1' }
    expect(checkIdentity(own, {})).toBeNull()
    expect(checkIdentity(own, own)).toBeNull()
    expect(checkIdentity(own, { system: 'sys_2' })).toMatchObject({ code: 'identity_mismatch', status: 403 })
    expect(checkIdentity(own, { system: 'sys_1', hostname: 'web-2' })).toMatchObject({ status: 403 })
  })
})

describe('what a stranger is told', () => {
  it('does not say which keys exist', async () => {
    const unknown = signedBy(web1.seed, `(${COVERED})${parameters({ keyid: `"ed25519:${'A'.repeat(43)}"` })}`)
    const old = signedBy(revoked.seed, `(${COVERED})${parameters({ keyid: `"${revoked.id}"` })}`)
    const forged = { ...signed(), method: 'PUT' }
    const told = []
    for (const request of [unknown, old, forged]) told.push(publicRefusal(await refusalOf(request)))
    expect(new Set(told.map((one) => JSON.stringify(one))).size).toBe(1)
    expect(told[0]).toMatchObject({ status: 401, code: 'signature_refused' })
  })

  it('helps an honest client', async () => {
    const late = publicRefusal(await refusalOf(signed({ now: new Date(NOW.getTime() - 400_000) })))
    expect(late).toMatchObject({ code: 'clock_skew', serverTime: NOW.toISOString() })
    expect(late).not.toHaveProperty('ok')
  })
})

describe('a request with two keys', () => {
  const fresh = freshKey()
  const body = new TextEncoder().encode(JSON.stringify({ public_key: encodeBase64(fresh.publicKey) }))

  it('says who vouches and which key is new', async () => {
    const answer = await checkTwo(twice(fresh.seed, body), 'boot')
    expect(answer).toMatchObject({ ok: true, keyId: web1.id, principal: 'sys_1', nonce: 'b'.repeat(22) })
    expect(answer).toHaveProperty('newKey', {
      keyId: fresh.id,
      publicKey: fresh.publicKey,
      nonce: 'a'.repeat(22),
    })
  })

  it.each<[string, SignedRequest, string]>([
    ['under the labels of rotation', signedTwice(fresh.seed, 'old', body), 'malformed_signature_input'],
    ['with one signature', signed({ body }), 'malformed_signature_input'],
    ['with a new key that the body does not carry', twice(web2.seed, body), 'unknown_key'],
    ['with a body without a key', twice(fresh.seed, BODY), 'unknown_key'],
    ['with the same key twice', twice(web1.seed, body), 'malformed_signature_input'],
    [
      'with a third label',
      edited(twice(fresh.seed, body), 'signature-input', /$/, ', x=()'),
      'malformed_signature_input',
    ],
    ['with signatures exchanged', exchanged(twice(fresh.seed, body)), 'bad_signature'],
    [
      'with another body',
      { ...twice(fresh.seed, body), body: new Uint8Array([...body, 32]) },
      'digest_mismatch',
    ],
  ])('is refused %s', async (_what, request, code) => {
    expect(codeOf(await checkTwo(request, 'boot'))).toBe(code)
  })

  it('is refused for a new key with a part of small order, even though its signature verifies', async () => {
    for (let attempt = 0; attempt < 200; attempt++) {
      const answer = await checkTwo(mixedOrderRequest(attempt), 'boot')
      if (codeOf(answer) === 'bad_signature') continue
      expect(answer).toMatchObject({ ok: false, code: 'weak_key', status: 400 })
      return
    }
    throw new Error('no attempt gave a hash that is a multiple of eight')
  })

  it('serves rotation with the label of the old key', async () => {
    expect(await checkTwo(signedTwice(fresh.seed, 'old', body), 'old')).toMatchObject({ ok: true })
  })
})

describe('the signature base', () => {
  it('is the one of RFC 9421 B.2.6, byte for byte, and so is the signature', () => {
    const fields: Fields = [
      ['Host', 'example.com'],
      ['Date', 'Tue, 20 Apr 2021 02:07:55 GMT'],
      ['Content-Type', 'application/json'],
      ['Content-Length', '18'],
    ]
    const message = { method: 'POST', authority: 'example.com', target: '/foo?param=Value&Pet=dog', fields }
    const base = baseOf(
      message,
      '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
    )
    expect(base).toBe(
      [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@method": POST',
        '"@path": /foo',
        '"@authority": example.com',
        '"content-type": application/json',
        '"content-length": 18',
        '"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
      ].join('\n'),
    )
    const seed = parseSeed('n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=')
    if (seed === null) throw new Error('the seed of the RFC is one')
    expect(encodeBase64(signEd25519(new TextEncoder().encode(base ?? ''), seed))).toBe(
      'wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==',
    )
  })

  const message = {
    method: 'GET',
    authority: 'www.EXAMPLE.com:443',
    target:
      '/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&twice=1&twice=2&e=',
    fields: [
      ['X-OWS', '   Leading and trailing whitespace.   '],
      ['X-Fold', 'Obsolete\r\n    line folding.'],
      ['Cache-Control', 'max-age=60'],
      ['Cache-Control', '  must-revalidate'],
      ['Empty', ''],
      ['Evil', 'a\nb'],
      ['Latin', 'ä'],
    ] satisfies Fields,
  }

  it.each([
    ['"@authority"', 'www.example.com'],
    ['"@scheme"', 'https'],
    ['"@path"', '/parameters'],
    ['"@query-param";name="var"', 'this%20is%20a%20big%0Amultiline%20value'],
    ['"@query-param";name="bar"', 'with%20plus%20whitespace'],
    ['"@query-param";name="fa%C3%A7ade%22%3A%20"', 'something'],
    ['"@query-param";name="e"', ''],
    ['"x-ows"', 'Leading and trailing whitespace.'],
    ['"x-fold"', 'Obsolete line folding.'],
    ['"cache-control"', 'max-age=60, must-revalidate'],
    ['"cache-control";sf', 'max-age=60, must-revalidate'],
    ['"cache-control";key="max-age"', '60'],
    ['"cache-control";bs', ':bWF4LWFnZT02MA==:, :bXVzdC1yZXZhbGlkYXRl:'],
    ['"empty"', ''],
  ])('resolves %s', (component, value) => {
    expect(baseOf(message, `(${component})`)).toBe(
      `${component}: ${value}\n"@signature-params": (${component})`,
    )
  })

  it.each([
    '"@query-param";name="twice"',
    '"@query-param";name="absent"',
    '"@query-param"',
    '"@method";req',
    '"x-ows";tr',
    '"x-ows";sf',
    '"cache-control";sf;bs',
    '"cache-control";key="absent"',
    '"x-ows";unknown',
    '"@signature-params"',
    '"@status"',
    '"X-OWS"',
    '"absent"',
    '"evil"',
    '"latin"',
    '"empty" "empty"',
    'empty',
  ])('does not resolve %s', (components) => {
    expect(baseOf(message, `(${components})`)).toBeNull()
  })

  it.each([
    [
      'https://www.example.com/path?param=value',
      '"@request-target"',
      'https://www.example.com/path?param=value',
    ],
    ['https://www.example.com/path?param=value', '"@path"', '/path'],
    ['https://www.example.com/path?param=value', '"@query"', '?param=value'],
    ['https://www.example.com/path?param=value', '"@target-uri"', 'https://www.example.com/path?param=value'],
    ['https://www.example.com', '"@path"', '/'],
    ['HTTP://other.example.com/path', '"@authority"', 'www.example.com'],
    ['www.example.com:80', '"@request-target"', 'www.example.com:80'],
    ['*', '"@request-target"', '*'],
    ['/path?', '"@query"', '?'],
    ['/path', '"@query"', '?'],
    ['/path?queryString', '"@query"', '?queryString'],
    ["/?a=-._*!'()~", '"@query-param";name="a"', '-._*%21%27%28%29%7E'],
  ])('of the target %s resolves %s', (target, component, value) => {
    expect(baseOf({ ...message, target }, `(${component})`)).toBe(
      `${component}: ${value}\n"@signature-params": (${component})`,
    )
  })

  it('of a response has its status', () => {
    const response = { status: 503, fields: [] }
    expect(baseOf(response, '("@status")')).toBe('"@status": 503\n"@signature-params": ("@status")')
    expect(baseOf(response, '("@method")')).toBeNull()
  })
})

describe('signing', () => {
  it('refuses what no verifier takes', () => {
    expect(() => signed({ nonce: 'short' })).toThrow('nonce')
    expect(() => signed({ validSeconds: 301 })).toThrow('validSeconds')
    expect(() => signed({ validSeconds: 0.5 })).toThrow('validSeconds')
    expect(() => signed({ contentType: 'a\nb' })).toThrow(RangeError)
  })
})

function freshKey(): { seed: SecretSeed; publicKey: Uint8Array; id: string } {
  const pair = generateKeyPair()
  return { ...pair, id: keyId(pair.publicKey) }
}

type Wishes = Partial<Parameters<typeof signRequest>[0]>

function signed(wishes: Wishes = {}): SignedRequest {
  const request = {
    method: 'POST',
    authority: AUTHORITY,
    target: '/v1/agent/reports',
    body: BODY,
    tag: TAG,
    now: NOW,
    seed: web1.seed,
    nonce: 'n'.repeat(22),
    ...wishes,
  }
  return { ...request, fields: Object.entries(signRequest(request)) }
}

function signedTwice(seed: SecretSeed, second: 'boot' | 'old', body: Uint8Array): SignedRequest {
  const request = { method: 'POST', authority: AUTHORITY, target: '/v1/enroll', body, tag: TAG, now: NOW }
  const known = { seed: web1.seed, nonce: 'b'.repeat(22) }
  const signers = {
    new: { seed, nonce: 'a'.repeat(22) },
    ...(second === 'boot' ? { boot: known } : { old: known }),
  }
  return { ...request, fields: Object.entries(signRequestTwice(request, signers as never)) }
}

/**
 * A request whose new key is a·B plus a point of order 8. Its signature verifies without cofactor when the hash is a multiple of 8:
 * one attempt in eight.
 */
function mixedOrderRequest(attempt: number): SignedRequest {
  const torsion = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
  const publicKey = Point.BASE.multiply(7n).add(torsion).toBytes()
  const body = new TextEncoder().encode(JSON.stringify({ public_key: encodeBase64(publicKey) }))
  const unsigned: [string, string][] = [
    ['content-type', 'application/json'],
    ['content-digest', contentDigest(body)],
  ]
  const request = { method: 'POST', authority: AUTHORITY, target: '/v1/enroll', body, fields: unsigned }
  const nonce = `"${String(attempt).padStart(22, '0')}"`
  const fresh = `(${COVERED})${parameters({ keyid: `"${keyId(publicKey)}"`, nonce })}`
  const known = `(${COVERED})${parameters()}`
  const commitment = Point.BASE.multiply(11n).toBytes()
  const base = new TextEncoder().encode(baseOf(request, fresh) ?? '')
  const digest = createHash('sha512').update(commitment).update(publicKey).update(base).digest()
  const hash = BigInt(`0x${Buffer.from(digest.toReversed()).toString('hex')}`) % Point.CURVE().n
  const response = (11n + hash * 7n) % Point.CURVE().n
  const s = Buffer.from(response.toString(16).padStart(64, '0'), 'hex').reverse()
  const first = encodeBase64(new Uint8Array([...commitment, ...s]))
  const second = encodeBase64(signEd25519(new TextEncoder().encode(baseOf(request, known) ?? ''), web1.seed))
  const fields: Fields = [
    ...unsigned,
    ['signature-input', `new=${fresh}, boot=${known}`],
    ['signature', `new=:${first}:, boot=:${second}:`],
  ]
  return { ...request, fields }
}

function twice(seed: SecretSeed, body: Uint8Array): SignedRequest {
  return signedTwice(seed, 'boot', body)
}

function exchanged(request: SignedRequest): SignedRequest {
  return edited(
    edited(edited(request, 'signature', 'new=', 'x='), 'signature', 'boot=', 'new='),
    'signature',
    'x=',
    'boot=',
  )
}

/** A request whose Signature-Input is written by hand and signed as a well-meaning client would. */
function signedBy(seed: SecretSeed, input: string): SignedRequest {
  const fields: [string, string][] = [
    ['content-type', 'application/json'],
    ['content-digest', contentDigest(BODY)],
    ['x-more', 'more'],
  ]
  const request = { method: 'POST', authority: AUTHORITY, target: '/v1/agent/reports', fields, body: BODY }
  const base = baseOf(request, input) ?? ''
  const signature = encodeBase64(signEd25519(new TextEncoder().encode(base), seed))
  return {
    ...request,
    fields: [...fields, ['signature-input', `cf=${input}`], ['signature', `cf=:${signature}:`]],
  }
}

function parameters(changes: Readonly<Record<string, string | null>> = {}): string {
  const all: Record<string, string | null> = {
    created: `${SECONDS}`,
    expires: `${SECONDS + 60}`,
    nonce: `"${'n'.repeat(22)}"`,
    keyid: `"${web1.id}"`,
    alg: '"ed25519"',
    tag: `"${TAG}"`,
    ...changes,
  }
  return Object.entries(all)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `;${name}=${value}`)
    .join('')
}

function baseOf(message: Parameters<typeof signatureBase>[0], input: string): string | null {
  try {
    const member = parseDictionary(`x=${input}`).get('x')
    return member?.kind === 'inner-list' ? signatureBase(message, member) : null
  } catch {
    return null
  }
}

async function check(request: SignedRequest) {
  const lookupKey = async (id: string) => KEYS.get(id) ?? null
  return verifyRequest(request, { tag: TAG, authority: AUTHORITY, now: NOW, lookupKey })
}

async function checkTwo(request: SignedRequest, second: 'boot' | 'old') {
  return verifyTwoKeyRequest(request, {
    tag: TAG,
    authority: AUTHORITY,
    now: NOW,
    second,
    lookupKey: async (id) => KEYS.get(id) ?? null,
    newKeyOf: (body) => {
      const text = z.object({ public_key: z.string() }).safeParse(JSON.parse(new TextDecoder().decode(body)))
      return text.success ? new Uint8Array(Buffer.from(text.data.public_key, 'base64')) : null
    },
  })
}

async function refusalOf(request: SignedRequest): Promise<Refusal> {
  const answer = await check(request)
  if (answer.ok) throw new Error('the request was taken')
  return answer
}

function codeOf(answer: { ok: true } | Refusal): string {
  return answer.ok ? 'accepted' : answer.code
}

function withField(request: SignedRequest, name: string, value: string): SignedRequest {
  return { ...request, fields: [...request.fields, [name, value]] }
}

function without(request: SignedRequest, name: string): SignedRequest {
  return { ...request, fields: request.fields.filter(([given]) => given !== name) }
}

function repeated(request: SignedRequest, name: string): SignedRequest {
  return { ...request, fields: [...request.fields, ...request.fields.filter(([given]) => given === name)] }
}

function joined(request: SignedRequest, name: string): SignedRequest {
  return edited(request, name, /^.*$/, (value) => `${value},${value}`)
}

function edited(
  request: SignedRequest,
  name: string,
  what: string | RegExp,
  by: string | ((match: string) => string),
): SignedRequest {
  const fields = request.fields.map(([given, value]): [string, string] => [
    given,
    given === name ? value.replace(what, by as string) : value,
  ])
  return { ...request, fields }
}

function flipped(value: string, place: number, flip: number): string {
  const at = place % value.length
  const code = value.charCodeAt(at) ^ flip
  const character =
    code > 0x20 && code < 0x7f && code !== value.charCodeAt(at) ? String.fromCharCode(code) : '\u00a7'
  return value.slice(0, at) + character + value.slice(at + 1)
}
