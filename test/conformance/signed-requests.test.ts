import { createHash, createPrivateKey, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { runSignedRequests } from './signed-requests.ts'

const FILE = JSON.parse(readFileSync(new URL('../vectors/signed-requests.json', import.meta.url), 'utf8'))
const NOW: number = FILE.now
const [WEB_1 = '', WEB_2 = '', REVOKED = ''] = Object.keys(FILE.keys)
const REPORT: object = JSON.parse(Buffer.from(FILE.cases[0].request.body_b64, 'base64').toString('utf8'))
const COVERED = '"@method" "@authority" "@path" "@query" "content-type" "content-digest"'

type Field = readonly [name: string, value: string]
/** How a request differs from a good one. What is signed follows it, except for `fields` and `sent`. */
type Wishes = {
  readonly method?: string
  readonly authority?: string
  readonly target?: string
  readonly contentType?: string
  readonly digest?: (body: Buffer) => string
  readonly body?: string | object
  readonly parameters?: Readonly<Record<string, string | number | null>>
  readonly signer?: string
  readonly fields?: (fields: readonly Field[]) => readonly Field[]
  readonly sent?: { readonly target?: string; readonly body_b64?: string }
}

it.each<[string, string, Wishes]>([
  // Faults in pairs: the earlier check speaks.
  ['a bad target of an unsigned request', 'bad_target', { fields: () => [], sent: { target: '/v1//x' } }],
  ['an unknown route of an unsigned request', 'no_route', { fields: () => [], target: '/v1/x' }],
  ['a slash too many, well signed', 'no_route', { target: '/v1/agent/reports/' }],
  ['another method, well signed', 'no_route', { method: 'GET' }],
  ['gzip of an unsigned request', 'encoding_not_allowed', { fields: () => [['content-encoding', 'gzip']] }],
  ['an empty content encoding', 'encoding_not_allowed', { fields: (f) => [...f, ['content-encoding', '']] }],
  ['another tag, long ago', 'tag', { parameters: { tag: '"x"', created: NOW - 999, expires: NOW - 900 } }],
  ['an unknown key, long ago', 'clock_skew', { parameters: { keyid: '"x"', created: 1, expires: 2 } }],
  [
    'a revoked key, expired',
    'expired',
    { signer: REVOKED, parameters: { created: NOW - 120, expires: NOW - 61 } },
  ],
  ['a revoked key with a signature of another', 'key_revoked', { parameters: { keyid: `"${REVOKED}"` } }],
  [
    'a bad signature over another body',
    'bad_signature',
    { parameters: { keyid: `"${WEB_2}"` }, sent: { body_b64: 'AAAA' } },
  ],
  [
    'another host with another body',
    'wrong_authority',
    { authority: 'evil.example.com', sent: { body_b64: 'AAAA' } },
  ],
  ['another body as text', 'digest_mismatch', { contentType: 'text/plain', sent: { body_b64: 'AAAA' } }],
  ['no JSON as text', 'media_type_not_allowed', { contentType: 'text/plain', body: 'x' }],
  ['an unknown member that stands twice', 'malformed_json', { body: '{"x":1,"x":1}' }],
  [
    "another host's name in a body with more",
    'invalid_body',
    { body: { ...REPORT, hostname: 'web-2', x: 1 } },
  ],
  ["another host's name", 'identity_mismatch', { body: { ...REPORT, hostname: 'web-2' } }],
  ['the own name in capitals', 'identity_mismatch', { body: { ...REPORT, hostname: 'WEB-1' } }],
  ["another system's id", 'identity_mismatch', { body: { ...REPORT, system: 'sys_02' } }],
  // Spellings that mean the same.
  ['names of fields in capitals', 'accepted', { fields: (f) => f.map(([n, v]) => [n.toUpperCase(), v]) }],
  ['white space around values', 'accepted', { fields: (f) => f.map(([n, v]) => [n, ` \t${v}\t `]) }],
  ['the usual port', 'accepted', { authority: 'API.cf.example.com:443' }],
  ['forwarded headers', 'accepted', { fields: (f) => [...f, ['x-forwarded-host', 'evil.example.com']] }],
  ['an empty query', 'accepted', { target: '/v1/agent/reports?' }],
  ['a query with broken percent signs', 'accepted', { target: '/v1/agent/reports?a=%zz&b' }],
  ['a body without its system', 'accepted', { body: { ...REPORT, system: undefined } }],
  ['SHA-512 alone', 'accepted', { digest: (body) => `sha-512=:${hash('sha512', body)}:` }],
  ['a digest with a parameter', 'accepted', { digest: (body) => `sha-256=:${hash('sha256', body)}:;x=1` }],
  ['a body of exactly 1 MiB', 'accepted', { body: JSON.stringify(REPORT).padEnd(1024 * 1024) }],
  // Spellings that do not.
  ['another port', 'wrong_authority', { authority: 'api.cf.example.com:80' }],
  ['a dot behind the host', 'wrong_authority', { authority: 'api.cf.example.com.' }],
  ['an address for the host', 'wrong_authority', { authority: '[::1]:443' }],
  [
    'the query in another order',
    'bad_signature',
    { target: '/v1/agent/reports?a=1&b=2', sent: { target: '/v1/agent/reports?b=2&a=1' } },
  ],
  ['the older form of a digest', 'digest_mismatch', { digest: (body) => `SHA-256=${hash('sha256', body)}` }],
  [
    'a digest without padding',
    'digest_mismatch',
    { digest: (body) => `sha-256=:${hash('sha256', body).replace('=', '')}:` },
  ],
  ['a body of one byte more', 'too_large', { body: JSON.stringify(REPORT).padEnd(1024 * 1024 + 1) }],
  ['a byte order mark', 'malformed_json', { body: `\ufeff${JSON.stringify(REPORT)}` }],
  ['32 levels', 'invalid_body', { body: '['.repeat(32) + ']'.repeat(32) }],
  ['33 levels', 'malformed_json', { body: '['.repeat(33) + ']'.repeat(33) }],
  ['a member twice by an escape', 'malformed_json', { body: '{"v":1,"\\u0076":1}' }],
  ['a number beyond doubles', 'malformed_json', { body: '{"v":1e999}' }],
  ['no body', 'malformed_json', { body: '' }],
  [
    'a heartbeat of a state that nobody knows',
    'state_required',
    {
      body: {
        v: 1,
        kind: 'heartbeat',
        report_id: '01J9Z4Q2M3N4P5R6S7T8V9W0XY',
        hostname: 'web-1',
        collected_at: '2026-11-22T19:29:58Z',
        state_digest: '0'.repeat(64),
      },
    },
  ],
])('a request with %s is answered %s', async (_what, code, wishes) => {
  expect(await answersTo([{ request: requestOf(wishes) }])).toEqual([code])
})

it('a request is taken once, and a refused one spends nothing', async () => {
  const again = { parameters: { nonce: `"${'n'.repeat(22)}"` } }
  const [refused, good] = [requestOf({ ...again, body: { ...REPORT, x: 1 } }), requestOf(again)]
  const other = requestOf({
    ...again,
    signer: WEB_2,
    body: { ...REPORT, system: 'sys_02', hostname: 'db-1' },
  })
  expect(await answersTo([refused, good, good, other].map((request) => ({ request })))).toEqual([
    'invalid_body',
    'accepted',
    'replayed',
    'accepted',
  ])
})

async function answersTo(cases: readonly object[]): Promise<readonly string[]> {
  // A case that names the hosts, as every file has one: the names of systems are read from the bodies.
  const example = { request: requestOf({}) }
  const answers = await runSignedRequests({ ...FILE, cases: [example, ...cases] })
  return answers.slice(1).map(({ code }) => code)
}

let made = 0
/** Signed here with node:crypto alone, from the text of the RFC. */
function requestOf(wishes: Wishes): object {
  const { method = 'POST', authority = 'api.cf.example.com', target = '/v1/agent/reports' } = wishes
  const { contentType = 'application/json', signer = WEB_1, digest = plainDigest } = wishes
  const body = Buffer.from(
    typeof wishes.body === 'string' ? wishes.body : JSON.stringify(wishes.body ?? REPORT),
  )
  const parameters = {
    created: NOW - 2,
    expires: NOW + 58,
    nonce: `"nonce-${String(++made).padStart(20, '0')}"`,
    keyid: `"${signer}"`,
    alg: '"ed25519"',
    tag: '"crystal-forge-agent-v1"',
    ...wishes.parameters,
  }
  const input = `(${COVERED})${Object.entries(parameters)
    .map(([name, value]) => `;${name}=${value}`)
    .join('')}`
  const mark = target.indexOf('?')
  const base = [
    `"@method": ${method}`,
    `"@authority": ${authority.toLowerCase().replace(/:443$/, '')}`,
    `"@path": ${mark < 0 ? target : target.slice(0, mark)}`,
    `"@query": ${mark < 0 ? '?' : target.slice(mark)}`,
    `"content-type": ${contentType}`,
    `"content-digest": ${digest(body)}`,
    `"@signature-params": ${input}`,
  ].join('\n')
  const signature = sign(null, Buffer.from(base), privateKeyOf(signer)).toString('base64')
  const fields: readonly Field[] = [
    ['content-type', contentType],
    ['content-digest', digest(body)],
    ['signature-input', `cf=${input}`],
    ['signature', `cf=:${signature}:`],
  ]
  const sent = wishes.fields?.(fields) ?? fields
  return { method, authority, target, fields: sent, body_b64: body.toString('base64'), ...wishes.sent }
}

function privateKeyOf(keyId: string) {
  const seed: string = FILE.keys[keyId].seed_hex
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex')
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

function plainDigest(body: Buffer): string {
  return `sha-256=:${hash('sha256', body)}:`
}

function hash(algorithm: 'sha256' | 'sha512', body: Buffer): string {
  return createHash(algorithm).update(body).digest('base64')
}
