import type { Answer, RawRequest } from '../raw-http.ts'
import { type Identity, makeIdentity, signedTwice } from '../signed-call.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import type { HostileWorld } from './hostile-world.ts'

/** Hosts that want to be known, or to be known by another key. */
export function enrolmentCases(): readonly HostileCase[] {
  return [
    ...cases('enrolment', [
      ['a token that was used', enrol('used', 'enrolled-1'), 403, 'token_refused', 'was used'],
      ['a token that has expired', enrol('expired', 'late-1'), 403, 'token_refused', 'has expired'],
      ['a token that was taken back', enrol('revoked', 'taken-back-1'), 403, 'token_refused', 'was revoked'],
      ['a token for another host', enrol('otherHost', 'new-1'), 403, 'token_refused', 'another host'],
      ['a token that nobody made', (w) => w.send(enrolment(w, { boot: NOBODY })), 401, 'signature_refused'],
      [
        "an operator's token for a seed",
        (w) => w.send(enrolment(w, { boot: w.builder })),
        401,
        'signature_refused',
      ],
      [
        'a key that another host has',
        (w) => w.send(enrolment(w, { fresh: w.hosts.db })),
        409,
        'key_in_use',
        'new pair',
      ],
      ['a key that was revoked', (w) => w.send(enrolment(w, { fresh: w.hosts.revoked })), 409, 'key_in_use'],
      ['a host that has a key', (w) => w.send(enrolment(w, { hostname: 'web-1' })), 409, 'host_has_key'],
      [
        'a host that was deactivated',
        (w) => w.send(enrolment(w, { hostname: 'retired-1' })),
        403,
        'system_inactive',
        'operator',
      ],
      [
        'a key of small order',
        (w) => w.send(enrolment(w, { publicKey: SMALL_ORDER })),
        401,
        'signature_refused',
      ],
      [
        'a key that did not sign',
        (w) => w.send(enrolment(w, { publicKey: w.hosts.stranger.publicKey })),
        401,
        'signature_refused',
      ],
      [
        'one key for both signatures',
        (w) => w.send(enrolment(w, { boot: NOBODY, fresh: NOBODY })),
        401,
        'malformed_signature_input',
        'two keys',
      ],
      [
        'a host name with a slash',
        (w) => w.send(enrolment(w, { hostname: '../etc' })),
        400,
        'invalid_body',
        'hostname',
      ],
      [
        'a host name that is SQL',
        (w) => w.send(enrolment(w, { hostname: "x'; drop table system; --" })),
        400,
        'invalid_body',
        'hostname',
      ],
      [
        'an environment of its own choice',
        (w) => w.send(enrolment(w, { more: { environment: 'production' } })),
        400,
        'invalid_body',
        'environment',
      ],
      [
        'a request that was signed once',
        (w) => w.send(withoutSecond(enrolment(w, {}))),
        401,
        'malformed_signature_input',
        'new and boot',
      ],
    ]),
    ...cases('rotation', [
      ["another host's name", (w) => w.send(rotation(w, { hostname: 'db-1' })), 403, 'identity_mismatch'],
      ['a key that another host has', (w) => w.send(rotation(w, { fresh: w.hosts.db })), 409, 'key_in_use'],
      [
        'by a key that was revoked',
        (w) => w.send(rotation(w, { old: w.hosts.revoked, hostname: 'revoked-1' })),
        401,
        'signature_refused',
      ],
      [
        'by a key that nobody registered',
        (w) => w.send(rotation(w, { old: NOBODY })),
        401,
        'signature_refused',
      ],
    ]),
  ]
}

const NOBODY = makeIdentity('nobody')
/** The point of order 1: without the strict reading any message verifies for it. */
const SMALL_ORDER = `AQ${'A'.repeat(41)}=`

type Attempt = {
  readonly boot?: Pick<Identity, 'seed'>
  readonly fresh?: Identity
  readonly hostname?: string
  readonly publicKey?: string
  readonly more?: object
}

function enrol(
  token: keyof HostileWorld['enrol'],
  hostname: string,
): (world: HostileWorld) => Promise<Answer> {
  return (world) => world.send(enrolment(world, { boot: { seed: world.enrol[token] }, hostname }))
}

/** A host that was never seen enrols with a good token, but for what is changed. */
function enrolment(world: HostileWorld, attempt: Attempt): RawRequest {
  const {
    boot = { seed: world.enrol.unused },
    fresh = makeIdentity('new-1'),
    hostname = 'new-1',
    more = {},
  } = attempt
  const body = { v: 1, hostname, public_key: attempt.publicKey ?? fresh.publicKey, ...more }
  const { authority } = world
  const how = {
    authority,
    tag: 'crystal-forge-agent-v1',
    target: '/v1/enroll',
    body,
    fresh: fresh.seed,
  } as const
  return signedTwice(how, { boot: boot.seed })
}

function rotation(
  world: HostileWorld,
  attempt: { readonly old?: Identity; readonly fresh?: Identity; readonly hostname?: string },
): RawRequest {
  const { old = world.hosts.web, fresh = makeIdentity('web-1'), hostname = 'web-1' } = attempt
  const body = { v: 1, hostname, public_key: fresh.publicKey }
  const { authority } = world
  const how = {
    authority,
    tag: 'crystal-forge-agent-v1',
    target: '/v1/agent/keys',
    body,
    fresh: fresh.seed,
  } as const
  return signedTwice(how, { old: old.seed })
}

function withoutSecond(request: RawRequest): RawRequest {
  return {
    ...request,
    headers: request.headers.map(([name, value]) =>
      name.startsWith('signature') ? [name, value.slice(0, value.indexOf(', boot='))] : [name, value],
    ),
  }
}
