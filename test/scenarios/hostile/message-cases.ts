import { type Answer, exchange, type RawRequest } from '../raw-http.ts'
import { headerOf, withHeader } from '../signed-call.ts'
import { REPORTS, report, reportWith } from './honest-report.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import type { HostileWorld } from './hostile-world.ts'

/** What is wrong with a message before anybody asks who sent it: framing, headers, targets, JSON. */
export function messageCases(): readonly HostileCase[] {
  return [
    ...cases('JSON', [
      ['a member twice', text('{"v":1,"v":1}'), 400, 'malformed_json', 'twice'],
      ['a member twice, spelled in two ways', text('{"v":1,"\\u0076":1}'), 400, 'malformed_json', 'twice'],
      ['__proto__', text('{"__proto__":{"admin":true}}'), 400, 'malformed_json', 'reserved'],
      ['constructor', text('{"constructor":{"prototype":{}}}'), 400, 'malformed_json', 'reserved'],
      ['a lone surrogate', text('{"hostname":"\\ud800"}'), 400, 'malformed_json', 'surrogate'],
      ['33 levels', text(`${'['.repeat(33)}${']'.repeat(33)}`), 400, 'malformed_json', 'deep'],
      ['a hundred thousand levels', text('['.repeat(100_000)), 400, 'malformed_json', 'deep'],
      [
        'bytes that are no UTF-8',
        bytes(Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d])),
        400,
        'malformed_json',
      ],
      ['a byte order mark', bytes(Buffer.from('\ufeff{}')), 400, 'malformed_json'],
      ['a number beyond a double', text('{"v":1e999}'), 400, 'malformed_json', 'number'],
      ['something after the value', text('{}{}'), 400, 'malformed_json'],
      ['a comment', text('{/* */}'), 400, 'malformed_json'],
      ['nothing', text(''), 400, 'malformed_json'],
      ['another type than an object', text('[]'), 400, 'invalid_body'],
      [
        'a field that nobody knows',
        (w) => w.send(reportWith(w, { admin: true })),
        400,
        'invalid_body',
        'admin',
      ],
      ['a version to come', (w) => w.send(reportWith(w, { v: 2 })), 400, 'invalid_body', 'v:'],
      [
        'a line break in a text',
        (w) => w.send(reportWith(w, { revision: 'a\nlevel=error' })),
        400,
        'invalid_body',
        'revision',
      ],
      [
        'an escape sequence in a text',
        (w) => w.send(reportWith(w, { agent_version: '\u009b31m' })),
        400,
        'invalid_body',
        'agent_version',
      ],
      [
        'NUL in a text',
        (w) => w.send(reportWith(w, { failed_units: ['a\0b'] })),
        400,
        'invalid_body',
        'failed_units',
      ],
      [
        'SQL for a store path',
        (w) => w.send(reportWith(w, { store_path: "'; drop table system; --" })),
        400,
        'invalid_body',
        'store_path',
      ],
      [
        'a store path that climbs',
        (w) => w.send(reportWith(w, { store_path: `/nix/store/${'a'.repeat(32)}-x/../../etc` })),
        400,
        'invalid_body',
        'store_path',
      ],
      [
        'a date that is none',
        (w) => w.send(reportWith(w, { collected_at: '2026-13-45T99:00:00Z' })),
        400,
        'invalid_body',
        'collected_at',
      ],
      [
        '257 failed units',
        (w) => w.send(reportWith(w, { failed_units: Array(257).fill('x.service') })),
        400,
        'invalid_body',
        'failed_units',
      ],
      [
        'a heartbeat for a state that was never sent',
        (w) => {
          const {
            store_path: _,
            change_reason: __,
            failed_units: ___,
            ...rest
          } = JSON.parse(String(reportWith(w, {}).body))
          return w.send(report(w, { body: { ...rest, kind: 'heartbeat', state_digest: '0'.repeat(64) } }))
        },
        409,
        'state_required',
        'whole state',
      ],
    ]),
    ...cases('headers', [
      [
        'another media type',
        (w) => w.send(report(w, { contentType: 'text/plain' })),
        415,
        'media_type_not_allowed',
        'application/json',
      ],
      [
        'a compressed body',
        (w) => w.send(withHeader(report(w), 'content-encoding', 'gzip')),
        415,
        'encoding_not_allowed',
        'gzip',
      ],
      [
        '17 KiB of headers',
        (w) => w.send(withHeader(report(w), 'x-filler', 'a'.repeat(17 * 1024))),
        431,
        'headers_too_large',
        '16 KiB',
      ],
      [
        '100 KiB of headers',
        (w) => w.send(withHeader(report(w), 'x-filler', 'a'.repeat(100 * 1024))),
        431,
        null,
      ],
      [
        'the signature input twice',
        (w) => w.send(twice(report(w), 'signature-input')),
        401,
        'malformed_signature_input',
      ],
      ['the signature twice', (w) => w.send(twice(report(w), 'signature')), 401, 'malformed_signature'],
      ['the digest twice', (w) => w.send(twice(report(w), 'content-digest')), 401, 'signature_refused'],
      ['the media type twice', (w) => w.send(twice(report(w), 'content-type')), 401, 'signature_refused'],
      ['the host twice', (w) => w.send(twice(report(w), 'host')), 401, 'signature_refused'],
      ['no host', (w) => w.send(withHeader(report(w), 'host', null)), 400, null],
      [
        'the authorization twice',
        (w) =>
          w.operator('GET', '/v1/systems', { headers: [['authorization', `Bearer ${w.tokens.garbled}`]] }),
        401,
        'token_refused',
      ],
      [
        'two lengths',
        (w) => w.send(withHeaders(report(w), ['content-length', '5'], ['content-length', '500'])),
        400,
        null,
      ],
      [
        'a length and chunks',
        (w) => w.send(withHeaders(report(w), ['content-length', '5'], ['transfer-encoding', 'chunked'])),
        400,
        null,
      ],
      ['a length below zero', (w) => w.send(withHeaders(report(w), ['content-length', '-1'])), 400, null],
      ['a folded line', (w) => w.send(withHeader(report(w), 'x-folded', 'a\r\n b')), 400, null],
      ['a space in a name', (w) => w.send(withHeader(report(w), 'x spaced', 'a')), 400, null],
      ['NUL in a value', (w) => w.send(withHeader(report(w), 'x-nul', 'a\0b')), 400, null],
      [
        '__proto__ for a name',
        (w) =>
          w.send({
            ...report(w),
            target: '/v1/agent/reports',
            headers: [
              ['__proto__', 'x'],
              ['host', w.authority],
            ],
          }),
        401,
        'unsigned',
      ],
    ]),
    ...cases('body', [
      [
        'a byte more than 1 MiB',
        (w) => w.send(report(w, { body: Buffer.alloc(1024 * 1024 + 1, 0x20) })),
        413,
        'body_too_large',
        '1048576',
      ],
      [
        'a byte more than 1 MiB, in chunks',
        (w) => w.send(chunked(report(w, { body: Buffer.alloc(1024 * 1024 + 1, 0x20) }))),
        413,
        'body_too_large',
      ],
      [
        'a body where none is read',
        (w) => w.operator('GET', '/v1/systems', { body: '{}' }),
        413,
        'body_too_large',
      ],
      [
        'a body that breaks off',
        (w) => exchange(w.url, { ...report(w), truncateAt: 100, headers: withLength(report(w)) }),
        400,
        null,
      ],
      [
        'chunks that are none',
        (w) =>
          w.send({ ...withHeader(report(w), 'transfer-encoding', 'chunked'), body: Buffer.from('zz\r\nx') }),
        400,
        null,
      ],
    ]),
    ...cases('target', [
      ['two slashes at its start', get('//v1/systems'), 400, 'bad_target'],
      ['two slashes within', get('/v1//systems'), 400, 'bad_target'],
      ['two dots', get('/v1/jobs/../tokens'), 400, 'bad_target'],
      ['one dot', get('/v1/./systems'), 400, 'bad_target'],
      ['dots at its end', get('/v1/systems/..'), 400, 'bad_target'],
      ['encoded dots', get('/v1/jobs/%2e%2e/tokens'), 400, 'bad_target'],
      ['an encoded slash', get('/v1/systems/web-1%2fdrift'), 400, 'bad_target'],
      ['an encoded letter', get('/v1/%73ystems'), 400, 'bad_target'],
      ['an encoded NUL', get('/v1/systems/web-1%00'), 400, 'bad_target'],
      ['an encoded line break', get('/v1/systems/x%0d%0alevel=error'), 400, 'bad_target'],
      ['a backslash', get('/v1\\systems'), 400, 'bad_target'],
      ['a semicolon', get('/v1/systems;role=admin'), 400, 'bad_target'],
      ['a letter beyond ASCII', get('/v1/syst\u00e8mes'), 400, null],
      ['a slash at its end', get('/v1/systems/'), 404, 'no_route'],
      ['capital letters', get('/V1/SYSTEMS'), 404, 'no_route'],
      ['the absolute form', (w) => w.operator('GET', `http://${w.authority}/v1/systems`), 400, 'bad_target'],
      ['the absolute form of another host', get('http://evil.example.com/v1/systems'), 400, 'bad_target'],
      ['an asterisk', (w) => w.operator('OPTIONS', '*'), 400, 'bad_target'],
      ['a path of 5000 letters', get(`/v1/systems/${'a'.repeat(5000)}`), 404, 'unknown_system'],
      ['another method', (w) => w.operator('DELETE', '/v1/systems/web-1'), 404, 'no_route'],
      [
        'a method in a header',
        (w) =>
          w.operator('POST', '/v1/systems/web-1', {
            headers: [['x-http-method-override', 'PATCH']],
            body: {},
          }),
        404,
        'no_route',
      ],
      ['a method that nobody knows', (w) => w.operator('BREW', '/v1/systems'), 400, null],
      [
        'a signed request with dots',
        (w) => w.send({ ...report(w), target: '/v1/agent/../agent/reports' }),
        400,
        'bad_target',
      ],
      [
        'a signed request with two slashes',
        (w) => w.send({ ...report(w), target: `/${REPORTS}` }),
        400,
        'bad_target',
      ],
    ]),
  ]
}

type Send = (world: HostileWorld) => Promise<Answer | null>

function text(body: string): Send {
  return bytes(Buffer.from(body))
}

/** A body that is signed by web-1 as it stands. */
function bytes(body: Uint8Array): Send {
  return (world) => world.send(report(world, { body }))
}

/** An administrator asks for a target. */
function get(target: string): Send {
  return (world) => world.operator('GET', target)
}

function twice(request: RawRequest, name: string): RawRequest {
  return withHeaders(request, [name, headerOf(request, name)])
}

function withHeaders(request: RawRequest, ...more: (readonly [string, string])[]): RawRequest {
  return { ...request, headers: [...request.headers, ...more] }
}

function withLength(request: RawRequest): RawRequest['headers'] {
  return [...request.headers, ['content-length', String(request.body?.length ?? 0)]]
}

function chunked(request: RawRequest): RawRequest {
  const { body = new Uint8Array() } = request
  const framed = Buffer.concat([
    Buffer.from(`${body.length.toString(16)}\r\n`),
    body,
    Buffer.from('\r\n0\r\n\r\n'),
  ])
  return { ...withHeader(request, 'transfer-encoding', 'chunked'), body: framed }
}
