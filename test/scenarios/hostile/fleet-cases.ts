import type { Answer } from '../raw-http.ts'
import { makeIdentity } from '../signed-call.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import type { HostileWorld } from './hostile-world.ts'

/** Declarations that cannot be applied. Each answer names the field, its value, and what to write instead. */
export function fleetCases(): readonly HostileCase[] {
  return [
    ...cases('flake reference', [
      [
        'an option',
        flake('https://git.example.com/a/b?allow-unfree=1'),
        422,
        'invalid_fleet',
        'allow-unfree',
        'unknown',
      ],
      [
        'a fixed revision',
        flake(`https://git.example.com/a/b?rev=${'a'.repeat(40)}`),
        422,
        'invalid_fleet',
        'rev',
        '?ref=',
      ],
      ['an option of git', flake('--upload-pack=id'), 422, 'invalid_fleet', '--upload-pack', 'dash'],
      [
        'an option of ssh for a host',
        flake('ssh://-oProxyCommand=id/a/b'),
        422,
        'invalid_fleet',
        '-oProxyCommand',
        'host name',
      ],
      [
        'an option of ssh for an account',
        flake('git+ssh://-oProxyCommand@git.example.com/a/b'),
        422,
        'invalid_fleet',
        'account',
      ],
      ['a helper of git', flake('ext::sh -c id'), 422, 'invalid_fleet', 'ext::sh'],
      ['path:', flake('path:/etc'), 422, 'invalid_fleet', 'path:/etc', 'write'],
      ['a relative path', flake('./fleet'), 422, 'invalid_fleet', './fleet', 'write'],
      ['a path of the machine', flake('/srv/fleet'), 422, 'invalid_fleet', '/srv/fleet', 'local = true'],
      ['a file URL', flake('git+file:///srv/fleet'), 422, 'invalid_fleet', '/srv/fleet', 'local = true'],
      [
        'a path that climbs',
        flake('/srv/../etc', { local: true }),
        422,
        'invalid_fleet',
        '/srv/../etc',
        'absolute path',
      ],
      [
        'local for a forge',
        flake('https://git.example.com/a/b', { local: true }),
        422,
        'invalid_fleet',
        'local = true',
        'remove',
      ],
      ['plain http', flake('http://git.example.com/a/b'), 422, 'invalid_fleet', 'http', 'write https://'],
      [
        'credentials',
        flake('https://me:hunter2@git.example.com/a/b'),
        422,
        'invalid_fleet',
        'repo_url',
        'netrc',
      ],
      ['an indirect reference', flake('nixpkgs'), 422, 'invalid_fleet', 'nixpkgs', 'write'],
      [
        'an archive',
        flake('tarball+https://git.example.com/a.tar.gz'),
        422,
        'invalid_fleet',
        'tarball',
        'write',
      ],
      [
        'a folder that climbs',
        flake('https://git.example.com/a/b?dir=../../etc'),
        422,
        'invalid_fleet',
        'dir',
        'inside',
      ],
      [
        'a branch that is an option',
        flake('https://git.example.com/a/b', { branch: '--upload-pack=id' }),
        422,
        'invalid_fleet',
        '--upload-pack',
        'branch',
      ],
      [
        'a branch that is Nix',
        flake('https://git.example.com/a/b', { branch: '"; builtins.exec [ ]' }),
        422,
        'invalid_fleet',
        'branch',
      ],
      [
        'a space',
        flake('https://git.example.com/a/b --impure'),
        422,
        'invalid_fleet',
        '--impure',
        'without spaces',
      ],
      ['an encoded line break', flake('https://git.example.com/a/b%0a'), 422, 'invalid_fleet', '%0a'],
      [
        'an address of the cloud',
        flake('http://169.254.169.254/latest/meta-data'),
        422,
        'invalid_fleet',
        'https://',
      ],
    ]),
    ...cases('declaration', [
      [
        'a key that another host has',
        (w) => put({ systems: [{ hostname: 'thief', public_key: w.hosts.web.publicKey }] })(w),
        409,
        'key_in_use',
        'thief',
        'web-1',
        'cf keygen',
      ],
      [
        "a builder's key for a host",
        (w) => put({ systems: [{ hostname: 'thief', public_key: w.builder.publicKey }] })(w),
        409,
        'key_in_use',
        'thief',
        'builder-1',
      ],
      [
        'a key of small order',
        put({ systems: [{ hostname: 'x', public_key: `AQ${'A'.repeat(41)}=` }] }),
        422,
        'key_refused',
        'system',
        'small_order',
        'cf keygen',
      ],
      ['one key for two hosts', twins(), 409, 'key_in_use', 'twin-2', 'twin-1'],
      [
        'a flake that nobody declares',
        put({ systems: [{ hostname: 'x', flake_name: 'evil' }] }),
        422,
        'unknown_flake',
        'flake_name',
        'evil',
      ],
      [
        'a hook without a secret',
        put({ hooks: [{ flake: 'fleet', provider: 'gitlab' }] }),
        422,
        'invalid_fleet',
        'secret',
      ],
      [
        'a secret of 15 letters',
        put({ hooks: [{ flake: 'fleet', provider: 'github', secret: 'fifteen letters' }] }),
        422,
        'invalid_body',
        'hooks.0.secret',
      ],
      [
        'a host twice',
        put({ systems: [{ hostname: 'x' }, { hostname: 'x' }] }),
        422,
        'invalid_body',
        'systems.1',
        'twice',
      ],
      [
        'a target that is no store path',
        put({ systems: [{ hostname: 'x', desired_target: '/etc/passwd' }] }),
        422,
        'invalid_body',
        'systems.0.desired_target',
        '/etc/passwd',
        'expected',
      ],
      [
        'a host name that is SQL',
        put({ systems: [{ hostname: "x'; drop table system; --" }] }),
        422,
        'invalid_body',
        'systems.0.hostname',
        'drop table',
        'expected',
      ],
      [
        'a name with an escape sequence',
        put({ environments: [{ name: 'x\u009b31m' }] }),
        422,
        'invalid_body',
        'environments.0.name',
        'control characters',
      ],
      [
        'a member that nobody knows',
        put({ systems: [{ hostname: 'x', root: true }] }),
        422,
        'invalid_body',
        'systems.0',
        'root',
      ],
      ['a section that nobody knows', put({ users: [] }), 422, 'invalid_body', 'users'],
      ['a list', put('[]'), 422, 'invalid_body', 'the body'],
      ['TOML', put('[[systems]]\nhostname = "x"\n'), 400, 'invalid_json', 'well formed'],
      ['a member twice', put('{"systems":[],"systems":[]}'), 400, 'invalid_json', 'twice'],
      ['__proto__', put('{"__proto__":{"systems":[]}}'), 400, 'invalid_json', 'reserved'],
      ['33 levels', put(`{"systems":${'['.repeat(33)}${']'.repeat(33)}}`), 400, 'invalid_json', 'deep'],
      ['bytes that are no UTF-8', put(Buffer.from([0x22, 0xff, 0x22])), 400, 'invalid_json', 'UTF-8'],
      [
        'a poll every second',
        flake('https://git.example.com/a/b', { poll_interval_s: 1 }),
        422,
        'invalid_body',
        'flakes.0.poll_interval_s',
        'is 1',
      ],
      [
        'dry_run that is neither',
        put({}, '/v1/fleet?dry_run=maybe'),
        400,
        'invalid_parameter',
        'dry_run',
        'maybe',
        'true or false',
      ],
      [
        'prune twice',
        put({}, '/v1/fleet?prune=false&prune=true'),
        400,
        'invalid_parameter',
        'prune',
        'twice',
      ],
    ]),
  ]
}

function put(body: unknown, target = '/v1/fleet'): (world: HostileWorld) => Promise<Answer> {
  return (world) => world.operator('PUT', target, { body })
}

function flake(url: string, more: object = {}): (world: HostileWorld) => Promise<Answer> {
  return put({ flakes: [{ name: 'hostile', repo_url: url, ...more }] })
}

function twins(): (world: HostileWorld) => Promise<Answer> {
  const { publicKey } = makeIdentity('twin')
  return put({ systems: ['twin-1', 'twin-2'].map((hostname) => ({ hostname, public_key: publicKey })) })
}
