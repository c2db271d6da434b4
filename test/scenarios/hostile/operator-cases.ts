import type { Answer } from '../raw-http.ts'
import { makeIdentity, signed } from '../signed-call.ts'
import { cases, type HostileCase, type Row } from './hostile-case.ts'
import type { HostileWorld, OperatorCall } from './hostile-world.ts'

/** Whoever calls the operator API: without the right, with nonsense for parameters, with nonsense for bodies. */
export function operatorCases(): readonly HostileCase[] {
  return [
    ...cases('token', [
      ['none', call('GET', '/v1/systems', { token: null }), 401, 'token_refused', 'Authorization: Bearer'],
      ['garbled', as('garbled', 'GET', '/v1/systems'), 401, 'token_refused'],
      ['expired', as('expired', 'GET', '/v1/systems'), 401, 'token_refused'],
      ['revoked', as('revoked', 'GET', '/v1/systems'), 401, 'token_refused'],
      ['of another shape', call('GET', '/v1/systems', { token: "' or 1=1 --" }), 401, 'token_refused'],
      [
        'with another scheme',
        call('GET', '/v1/systems', { token: null, headers: [['authorization', 'Basic YWRtaW46YWRtaW4=']] }),
        401,
        'token_refused',
      ],
      [
        'in the query',
        (w) => w.operator('GET', `/v1/systems?access_token=${w.tokens.viewer}`, { token: null }),
        401,
        'token_refused',
      ],
      ['garbled, where anybody may ask', as('garbled', 'GET', '/status'), 401, 'token_refused'],
      [
        "a builder's signature instead",
        (w) =>
          w.send(
            signed({
              by: w.builder.seed,
              authority: w.authority,
              tag: 'crystal-forge-operator-v1',
              target: '/v1/tokens',
              body: {},
            }),
          ),
        401,
        'token_refused',
      ],
    ]),
    ...cases('role', [
      [
        'a viewer declares the fleet',
        as('viewer', 'PUT', '/v1/fleet', {}),
        403,
        'role_too_low',
        'admin',
        'viewer',
      ],
      [
        'a viewer even looks what would happen',
        as('viewer', 'PUT', '/v1/fleet?dry_run=true', {}),
        403,
        'role_too_low',
      ],
      [
        'a viewer registers a host',
        as('viewer', 'POST', '/v1/systems', { hostname: 'x' }),
        403,
        'role_too_low',
      ],
      ['a viewer sets a target', as('viewer', 'PATCH', '/v1/systems/web-1', {}), 403, 'role_too_low'],
      [
        'a viewer deactivates a host',
        as('viewer', 'POST', '/v1/systems/web-1/deactivate', {}),
        403,
        'role_too_low',
      ],
      [
        'a viewer cancels a job',
        (w) => as('viewer', 'POST', `/v1/jobs/${w.heldBuild.job}/cancel`, {})(w),
        403,
        'role_too_low',
      ],
      [
        'an operator makes a token',
        as('operator', 'POST', '/v1/tokens', { name: 'x', role: 'admin' }),
        403,
        'role_too_low',
      ],
      ['an operator lists tokens', as('operator', 'GET', '/v1/tokens'), 403, 'role_too_low'],
      [
        'an operator makes an enrolment token',
        as('operator', 'POST', '/v1/enroll-tokens', { hostname: '*' }),
        403,
        'role_too_low',
      ],
      [
        'an operator adds a key',
        as('operator', 'POST', '/v1/systems/web-1/keys', { public_key: freshKey() }),
        403,
        'role_too_low',
      ],
      [
        'an approver revokes a key',
        (w) => as('approver', 'POST', `/v1/keys/${w.hosts.web.keyId.slice(8)}/revoke`, {})(w),
        403,
        'role_too_low',
      ],
      [
        "an approver switches the original's wire on",
        as('approver', 'POST', '/v1/original-wire', { until: '2027-01-01T00:00:00Z' }),
        403,
        'role_too_low',
      ],
      [
        'an operator declares a path of the machine',
        as('operator', 'POST', '/v1/flakes', { name: 'local', repo_url: '/srv/fleet', local: true }),
        403,
        'local_needs_admin',
        'admin',
      ],
    ]),
    ...cases('change', [
      [
        'a host that is registered',
        post('/v1/systems', { hostname: 'web-1' }),
        409,
        'system_exists',
        'PATCH',
      ],
      [
        'a flake that is registered',
        post('/v1/flakes', { name: 'fleet', repo_url: 'https://git.example.com/a/b' }),
        409,
        'flake_exists',
        'PATCH',
      ],
      [
        'a target that is no store path',
        call('PATCH', '/v1/systems/web-1', { body: { desired_target: '/etc/passwd' } }),
        422,
        'invalid_body',
        'desired_target',
        '/etc/passwd',
      ],
      [
        'a policy that nobody knows',
        call('PATCH', '/v1/systems/web-1', { body: { deployment_policy: 'always' } }),
        422,
        'invalid_body',
        'deployment_policy',
      ],
      [
        'a flake that nobody knows',
        call('PATCH', '/v1/systems/web-1', { body: { flake_name: 'evil' } }),
        422,
        'unknown_flake',
        'evil',
      ],
      [
        'a repository with another scheme',
        call('PATCH', '/v1/flakes/fleet', { body: { repo_url: 'http://git.example.com/a/b' } }),
        422,
        'invalid_fleet',
        'https://',
      ],
      [
        'a key that another host has',
        (w) => post('/v1/systems/web-1/keys', { public_key: w.hosts.db.publicKey })(w),
        409,
        'key_in_use',
        'cf keygen',
      ],
      [
        'a key of small order',
        post('/v1/systems/web-1/keys', { public_key: `AQ${'A'.repeat(41)}=` }),
        422,
        'key_refused',
        'small_order',
        'cf keygen',
      ],
      [
        'a key of 31 bytes',
        post('/v1/systems/web-1/keys', { public_key: 'AAAA' }),
        422,
        'invalid_body',
        'public_key',
      ],
      [
        'a key for a deactivated host',
        post('/v1/systems/retired-1/keys', { public_key: freshKey() }),
        404,
        'unknown_system',
      ],
      [
        'a job that is held is tried again',
        (w) => post(`/v1/jobs/${w.heldBuild.job}/retry`, {})(w),
        409,
        'job_state',
        'leased',
      ],
      [
        'a job that is done is cancelled',
        (w) => post(`/v1/jobs/${w.finishedEvaluation.job}/cancel`, {})(w),
        409,
        'job_state',
        'succeeded',
      ],
      [
        'a token for ten years',
        post('/v1/tokens', { name: 'x', role: 'viewer', expires_in_s: 315_360_000 }),
        422,
        'invalid_body',
        'expires_in_s',
      ],
      [
        'a token with a line break in its name',
        post('/v1/tokens', { name: 'a\nlevel=error', role: 'viewer' }),
        422,
        'invalid_body',
        'name',
      ],
      [
        'a token with a role that nobody knows',
        post('/v1/tokens', { name: 'x', role: 'root' }),
        422,
        'invalid_body',
        'role',
      ],
      [
        'an enrolment token for a flake that nobody knows',
        post('/v1/enroll-tokens', { hostname: 'x', flake: 'evil' }),
        422,
        'unknown_flake',
        'evil',
      ],
      [
        'an enrolment token for two days',
        post('/v1/enroll-tokens', { hostname: 'x', expires_in_s: 172_800 }),
        422,
        'invalid_body',
        'expires_in_s',
      ],
      [
        "the original's wire until yesterday",
        post('/v1/original-wire', { until: '2020-01-01T00:00:00Z' }),
        422,
        'invalid_body',
        'until',
      ],
      [
        "the original's wire for a host that nobody knows",
        post('/v1/original-wire', { until: null, systems: ['ghost'] }),
        404,
        'unknown_system',
        'ghost',
      ],
      [
        'a parameter on a change',
        post('/v1/systems/web-1/deactivate?force=true', {}),
        400,
        'invalid_parameter',
        'force',
      ],
      [
        'a member that nobody knows',
        post('/v1/systems/web-1/deactivate', { force: true }),
        422,
        'invalid_body',
        'force',
      ],
      [
        'a member twice',
        post('/v1/tokens', '{"name":"a","name":"b","role":"viewer"}'),
        400,
        'invalid_json',
        'twice',
      ],
      [
        '__proto__',
        post('/v1/tokens', '{"__proto__":{"role":"admin"},"name":"a","role":"viewer"}'),
        400,
        'invalid_json',
        'reserved',
      ],
      ['a byte more than 4 MiB', post('/v1/tokens', ' '.repeat(4 * 1024 * 1024 + 1)), 413, 'body_too_large'],
      [
        'a compressed body',
        call('POST', '/v1/tokens', { body: {}, headers: [['content-encoding', 'gzip']] }),
        415,
        'encoding_not_allowed',
      ],
    ]),
    ...cases('name in a path', namesInPaths()),
    ...cases('filter', hostileFilters()),
    ...cases('page', [
      ['a limit of 0', call('GET', '/v1/systems?limit=0'), 400, 'invalid_parameter', 'limit', '1 to 200'],
      ['a limit of 201', call('GET', '/v1/systems?limit=201'), 400, 'invalid_parameter', 'limit'],
      ['a limit in hexadecimal', call('GET', '/v1/systems?limit=0x10'), 400, 'invalid_parameter', 'limit'],
      [
        'a limit twice',
        call('GET', '/v1/systems?limit=1&limit=2'),
        400,
        'invalid_parameter',
        'limit',
        'twice',
      ],
      [
        'a cursor that is no base64',
        call('GET', '/v1/systems?cursor=%21'),
        400,
        'invalid_parameter',
        'cursor',
      ],
      [
        'a cursor with NUL',
        call('GET', `/v1/systems?cursor=${Buffer.from('a\0').toString('base64url')}`),
        400,
        'invalid_parameter',
        'cursor',
      ],
      [
        'a cursor with a line break',
        call('GET', `/v1/jobs?cursor=${Buffer.from('a\nb').toString('base64url')}`),
        400,
        'invalid_parameter',
        'cursor',
      ],
      [
        'a cursor of 900 letters',
        call('GET', `/v1/systems?cursor=${'A'.repeat(900)}`),
        400,
        'invalid_parameter',
        'cursor',
      ],
      [
        'a parameter that nobody knows',
        call('GET', '/v1/systems?tenant=t_other'),
        400,
        'invalid_parameter',
        'tenant',
        'known are',
      ],
      [
        '__proto__ for a parameter',
        call('GET', '/v1/systems?__proto__=1'),
        400,
        'invalid_parameter',
        '__proto__',
      ],
      ['a parameter in brackets', call('GET', '/v1/systems?q[$ne]=1'), 400, 'invalid_parameter', 'q[$ne]'],
    ]),
  ]
}

/** The hostile strings, and whether each can be a line of text: then it is data that finds nothing. */
const STRINGS: readonly (readonly [string, encoded: string, isLine: boolean])[] = [
  ['SQL', "'%3B%20drop%20table%20system%3B%20--", true],
  ['SQL that is always true', "'%20or%20'1'%3D'1", true],
  ['a line of a log', 'x%0D%0A%7B%22level%22%3A%22error%22%7D', false],
  ['an escape sequence', '%1B%5B2J', false],
  ['an escape sequence of one character', '%C2%9B2J', false],
  ['NUL', '%00', false],
  ['bytes that are no UTF-8', '%FF%FE', true],
  ['5000 letters', 'x'.repeat(5000), false],
]

/** Every filter of every list. `line` takes any line of text; the others have their own shape. */
const FILTERS: Readonly<Record<string, Readonly<Record<string, 'line' | 'shape'>>>> = {
  systems: {
    flake: 'line',
    environment: 'line',
    q: 'line',
    verdict: 'shape',
    health: 'shape',
    active: 'shape',
  },
  drift: { flake: 'line', environment: 'line', q: 'line', verdict: 'shape', health: 'shape' },
  commits: { flake: 'line', state: 'shape', rev: 'shape' },
  evaluations: { flake: 'line', configuration: 'line', commit: 'shape', state: 'shape' },
  derivations: { state: 'shape', scan: 'shape', path: 'shape' },
  jobs: { builder: 'line', kind: 'shape', state: 'shape' },
  findings: {
    system: 'line',
    environment: 'line',
    flake: 'line',
    package: 'line',
    cve: 'shape',
    min_cvss: 'shape',
  },
  events: { type: 'shape', since: 'shape' },
  hooks: { flake: 'line' },
  flakes: { active: 'shape' },
  builders: { active: 'shape' },
}

function hostileFilters(): Row[] {
  return Object.entries(FILTERS).flatMap(([list, filters]) =>
    Object.entries(filters).flatMap(([filter, takes]) =>
      STRINGS.map(([what, encoded, isLine]): Row => {
        const send = call('GET', `/v1/${list}?${filter}=${encoded}`)
        const name = `${list} ${filter}: ${what}`
        if (takes === 'line' && isLine) return [name, send, 200, null, '"items":[]', '"next_cursor":null']
        return [name, send, 400, 'invalid_parameter', filter]
      }),
    ),
  )
}

/** Every route with a name in its path, and names that nothing has. */
function namesInPaths(): Row[] {
  const nouns = {
    systems: 'system',
    flakes: 'flake',
    commits: 'commit',
    evaluations: 'evaluation',
    jobs: 'job',
    builders: 'builder',
  }
  const reads = Object.entries(nouns).map(([list, noun]) => [`GET /v1/${list}/`, '', noun] as const)
  const routes = [
    ...reads,
    ['GET /v1/systems/', '/drift', 'system'],
    ['GET /v1/systems/', '/states', 'system'],
    ['GET /v1/jobs/', '/waiting', 'job'],
    ['PATCH /v1/systems/', '', 'system'],
    ['PATCH /v1/flakes/', '', 'flake'],
    ['POST /v1/systems/', '/deactivate', 'system'],
    ['POST /v1/flakes/', '/deactivate', 'flake'],
    ['POST /v1/flakes/', '/poll', 'flake'],
    ['POST /v1/jobs/', '/retry', 'job'],
    ['POST /v1/jobs/', '/cancel', 'job'],
    ['POST /v1/keys/', '/revoke', 'key'],
    ['POST /v1/tokens/', '/revoke', 'token'],
  ] as const
  const names = ['-1', '__proto__', 'constructor', '~', 'x'.repeat(3000)]
  return routes.flatMap(([before, after, noun]) => {
    const [method = '', path = ''] = before.split(' ')
    const options = method === 'GET' ? {} : { body: {} }
    return [
      ...names.map(
        (name): Row => [
          `${before}${name.slice(0, 12)}${after}`,
          call(method, `${path}${name}${after}`, options),
          404,
          `unknown_${noun}`,
        ],
      ),
      [`${before}SQL${after}`, call(method, `${path}x'--${after}`, options), 400, 'bad_target'] as const,
    ]
  })
}

function call(
  method: string,
  target: string,
  options: OperatorCall = {},
): (world: HostileWorld) => Promise<Answer> {
  return (world) => world.operator(method, target, options)
}

/** An administrator's change. */
function post(target: string, body: unknown): (world: HostileWorld) => Promise<Answer> {
  return call('POST', target, { body })
}

function as(
  token: keyof HostileWorld['tokens'],
  method: string,
  target: string,
  body?: unknown,
): (world: HostileWorld) => Promise<Answer> {
  return (world) =>
    world.operator(method, target, { token: world.tokens[token], ...(body === undefined ? {} : { body }) })
}

function freshKey(): string {
  return makeIdentity('new').publicKey
}
