import { contentDigest } from '@crystal-forge/protocol'
import type { Answer, RawRequest } from '../raw-http.ts'
import { headerOf, withHeader } from '../signed-call.ts'
import { REPORTS, report, reportWith } from './honest-report.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import { type HostileWorld, stateReport } from './hostile-world.ts'

/** One answer for all that concerns the key, so that nobody can ask which keys exist. */
const REFUSED = 'signature_refused'

/** Who signed, when, over what, and how often: the profile of wire.md. */
export function signedRequestCases(): readonly HostileCase[] {
  return [
    ...cases('who', [
      ['a key that nobody registered', (w) => w.send(report(w, { by: w.hosts.stranger.seed })), 401, REFUSED],
      [
        "another host's key under this host's key id",
        (w) => w.send(report(w, { by: w.hosts.db.seed, keyId: w.hosts.web.keyId })),
        401,
        REFUSED,
      ],
      ['a revoked key', (w) => w.send(report(w, { by: w.hosts.revoked.seed })), 401, REFUSED],
      ['the key of a deactivated host', (w) => w.send(report(w, { by: w.hosts.retired.seed })), 401, REFUSED],
      ["a builder's key where hosts report", (w) => w.send(report(w, { by: w.builder.seed })), 401, REFUSED],
      ["the builders' tag", (w) => w.send(report(w, { tag: 'crystal-forge-builder-v1' })), 401, 'tag'],
      ["the operators' tag", (w) => w.send(report(w, { tag: 'crystal-forge-operator-v1' })), 401, 'tag'],
      ['SQL for a key id', (w) => w.send(report(w, { keyId: "'; drop table system_key; --" })), 401, REFUSED],
      [
        "a host's key where builders work",
        (w) => w.send(report(w, { tag: 'crystal-forge-builder-v1', target: '/v1/builder/claims' })),
        401,
        REFUSED,
      ],
      [
        "another host's name",
        (w) => w.send(report(w, { body: stateReport('db-1', 'report-other-name-1') })),
        403,
        'identity_mismatch',
      ],
      [
        "another host's system",
        (w) => w.send(reportWith(w, { system: w.systemIds['db-1'] ?? '' })),
        403,
        'identity_mismatch',
      ],
    ]),
    ...cases('when', [
      ['the same bytes twice', (w) => w.send(w.report), 409, 'replayed'],
      [
        'a nonce that was used, under another body',
        async (w) => {
          const nonce = /nonce="([^"]+)"/.exec(headerOf(w.report, 'signature-input'))?.[1] ?? ''
          const created = Number(/created=([0-9]+)/.exec(headerOf(w.report, 'signature-input'))?.[1])
          // A nonce is spent together with the time at which its signature expires.
          const now = new Date(created * 1000)
          return w.send(report(w, { nonce, now, body: stateReport('web-1', 'report-old-nonce-01') }))
        },
        409,
        'replayed',
      ],
      ['a clock ten minutes behind', clockSkew(-600), 401, 'clock_skew', 'set the clock'],
      ['a clock ten minutes ahead', clockSkew(600), 401, 'clock_skew', 'set the clock'],
      ['a clock of 1970', (w) => w.send(report(w, { now: new Date(0) })), 401, 'clock_skew'],
      ['a signature that has expired', clockSkew(-200), 401, 'expired', 'sign again'],
      [
        'a signature for longer than five minutes',
        (w) => w.send(input(report(w), (text) => text.replace(/expires=[0-9]+/, 'expires=4102444800'))),
        401,
        'malformed_signature_input',
        'expires',
      ],
      [
        'a creation time that is no integer',
        (w) => w.send(input(report(w), (text) => text.replace(/created=([0-9]+)/, 'created=$1.5'))),
        401,
        'malformed_signature_input',
        'created',
      ],
    ]),
    ...cases('over what', [
      [
        'a body that was changed',
        (w) => w.send({ ...report(w), body: Buffer.from('{}') }),
        400,
        'digest_mismatch',
      ],
      [
        'a body and a digest that were changed',
        (w) => w.send({ ...report(w), ...digested('{"v":1}', report(w)) }),
        401,
        REFUSED,
      ],
      [
        'a query that was not signed',
        (w) => w.send({ ...report(w), target: `${REPORTS}?dry_run=true` }),
        401,
        REFUSED,
      ],
      ['a path that was not signed', (w) => w.send({ ...report(w), target: '/system_state' }), 401, REFUSED],
      [
        'a signature for another host, sent to this one',
        (w) => w.send(withHeader(report(w, { authority: 'evil.example.com' }), 'host', w.authority)),
        401,
        REFUSED,
      ],
      [
        'a signature for another host, sent under its name',
        (w) => w.send(report(w, { authority: 'evil.example.com' })),
        421,
        'wrong_authority',
      ],
      [
        'a forwarded host',
        (w) =>
          w.send(
            withHeader(
              withHeader(report(w, { authority: 'evil.example.com' }), 'host', w.authority),
              'x-forwarded-host',
              'evil.example.com',
            ),
          ),
        401,
        REFUSED,
      ],
      ['no signature', (w) => w.send(withHeader(report(w), 'signature', null)), 401, 'unsigned', 'Signature'],
      ['no signature input', (w) => w.send(withHeader(report(w), 'signature-input', null)), 401, 'unsigned'],
      ['no digest', (w) => w.send(withHeader(report(w), 'content-digest', null)), 401, 'components'],
      [
        'a component that is not covered',
        (w) => w.send(input(report(w), (text) => text.replace(' "@query"', ''))),
        401,
        'components',
        '@query',
      ],
      [
        'a component that is covered twice',
        (w) => w.send(input(report(w), (text) => text.replace('"@query"', '"@query" "@query"'))),
        401,
        'malformed_signature_input',
        'twice',
      ],
      [
        'a component with a parameter',
        (w) => w.send(input(report(w), (text) => text.replace('"@path"', '"@path";req'))),
        401,
        'components',
        '@path',
      ],
      [
        'another algorithm',
        (w) => w.send(input(report(w), (text) => text.replace('"ed25519"', '"hmac-sha256"'))),
        401,
        'algorithm',
        'ed25519',
      ],
      [
        'a parameter that is missing',
        (w) => w.send(input(report(w), (text) => text.replace(/;expires=[0-9]+/, ''))),
        401,
        'missing_parameter',
        'expires',
      ],
      [
        'a parameter that nobody knows',
        (w) => w.send(input(report(w), (text) => `${text};admin=?1`)),
        401,
        'malformed_signature_input',
      ],
      [
        'a nonce that can be guessed',
        (w) => w.send(input(report(w), (text) => text.replace(/nonce="[^"]+"/, 'nonce="1"'))),
        401,
        'nonce',
      ],
      [
        'two labels',
        (w) => w.send(input(report(w), (text) => `${text}, second=${text.slice('cf='.length)}`)),
        401,
        'malformed_signature_input',
        'one label',
      ],
      [
        'a signature input that is no dictionary',
        (w) => w.send(withHeader(report(w), 'signature-input', 'cf=("@method"')),
        401,
        'malformed_signature_input',
      ],
      [
        'a signature of 63 bytes',
        (w) => w.send(withHeader(report(w), 'signature', `cf=:${Buffer.alloc(63, 1).toString('base64')}:`)),
        401,
        'malformed_signature',
        '64 bytes',
      ],
      [
        'base64 with junk in it',
        (w) =>
          w.send(
            withHeader(report(w), 'signature', headerOf(report(w), 'signature').replace('cf=:', 'cf=:!')),
          ),
        401,
        'malformed_signature',
      ],
      [
        'a signature of zeros',
        (w) => w.send(withHeader(report(w), 'signature', `cf=:${Buffer.alloc(64).toString('base64')}:`)),
        401,
        REFUSED,
      ],
      [
        'a signature header of 9 KiB',
        (w) => w.send(withHeader(report(w), 'signature-input', `cf=("${'a'.repeat(9 * 1024)}")`)),
        431,
        'too_large',
        '8 KiB',
      ],
    ]),
  ]
}

function clockSkew(seconds: number): (world: HostileWorld) => Promise<Answer> {
  return async (world) => {
    const answer = await world.send(report(world, { now: new Date(Date.now() + seconds * 1000) }))
    const told = Date.parse(String(answer.body['server_time']))
    if (!(Math.abs(told - Date.now()) < 60_000)) throw new Error(`no server_time in ${answer.text}`)
    return answer
  }
}

function input(request: RawRequest, change: (text: string) => string): RawRequest {
  return withHeader(request, 'signature-input', change(headerOf(request, 'signature-input')))
}

function digested(text: string, request: RawRequest): Pick<RawRequest, 'headers' | 'body'> {
  const body = Buffer.from(text)
  return { body, headers: withHeader(request, 'content-digest', contentDigest(body)).headers }
}
