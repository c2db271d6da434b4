import { deliveryOf, push } from '../deliveries.ts'
import type { Answer } from '../raw-http.ts'
import { headerOf, withHeader } from '../signed-call.ts'
import { cases, type HostileCase } from './hostile-case.ts'
import type { HostileWorld } from './hostile-world.ts'

/** Deliveries of a forge. What is authentic and of no interest is acknowledged, and says why. */
export function webhookCases(): readonly HostileCase[] {
  return [
    ...cases('webhook', [
      [
        'a wrong secret',
        (w) => w.send(deliveryOf(w, push(), { secret: 'not the secret of it' })),
        401,
        'hook_signature',
        'secret',
      ],
      [
        'no signature',
        (w) => w.send(withHeader(deliveryOf(w, push()), 'x-hub-signature-256', null)),
        401,
        'hook_signature',
      ],
      [
        'a signature with SHA-1 only',
        (w) =>
          w.send(
            withHeader(
              withHeader(deliveryOf(w, push()), 'x-hub-signature-256', null),
              'x-hub-signature',
              `sha1=${'0'.repeat(40)}`,
            ),
          ),
        401,
        'hook_signature',
      ],
      [
        'a body that was changed',
        (w) =>
          w.send({
            ...deliveryOf(w, push()),
            body: Buffer.from(JSON.stringify(push({ after: 'f'.repeat(40) }))),
          }),
        401,
        'hook_signature',
      ],
      ['a signature twice', (w) => w.send(signatureTwice(w)), 401, 'hook_signature'],
      [
        "the token of another forge's way",
        (w) =>
          w.send(
            withHeader(
              withHeader(deliveryOf(w, push()), 'x-hub-signature-256', null),
              'x-gitlab-token',
              w.hookSecret,
            ),
          ),
        401,
        'hook_signature',
      ],
      [
        'an id that no hook has',
        (w) => w.send(deliveryOf(w, push(), { path: '/v1/hooks/hook_0123456789abcdef0123456789abcdef' })),
        401,
        'hook_signature',
      ],
      [
        'SQL for an id',
        (w) => w.send(deliveryOf(w, push(), { path: "/v1/hooks/'or'1'='1" })),
        400,
        'bad_target',
      ],
      [
        "the original's address",
        (w) => w.send(deliveryOf(w, push(), { path: '/webhook' })),
        410,
        'hook_moved',
        '/v1/hooks/',
      ],
      ['a delivery again', (w) => w.send(w.delivery), 200, null, '"accepted":false', 'already seen'],
      [
        'a delivery again under another id',
        (w) => w.send(withHeader(w.delivery, 'x-github-delivery', 'another-id')),
        200,
        null,
        '"accepted":false',
        '10 minutes',
      ],
      ['another branch', pushOf({ ref: 'refs/heads/evil' }), 202, null, '"accepted":false', 'evil', 'main'],
      [
        'a branch whose name ends like ours',
        pushOf({ ref: 'refs/heads/evil/main' }),
        202,
        null,
        '"accepted":false',
        'evil/main',
      ],
      [
        'a branch with a line break',
        pushOf({ ref: 'refs/heads/x\nlevel=error' }),
        202,
        null,
        '"accepted":false',
        '\\\\n',
      ],
      ['a tag', pushOf({ ref: 'refs/tags/main' }), 202, null, '"accepted":false', 'tag'],
      [
        'a deletion',
        pushOf({ deleted: true, after: '0'.repeat(40) }),
        202,
        null,
        '"accepted":false',
        'deleted',
      ],
      [
        'an event that is no push',
        (w) => w.send(deliveryOf(w, push(), { event: 'issues' })),
        202,
        null,
        '"accepted":false',
        'not a push',
      ],
      ['a commit that is Nix', pushOf({ after: '"; builtins.exec ["id"]; "' }), 400, 'hook_body', 'after'],
      [
        'a signed body that is no JSON',
        (w) => w.send(deliveryOf(w, 'payload=%7B%7D')),
        400,
        'hook_body',
        'application/json',
      ],
      [
        'a signed member twice',
        (w) => w.send(deliveryOf(w, '{"ref":"refs/heads/main","ref":"refs/heads/evil"}')),
        400,
        'hook_body',
        'twice',
      ],
      [
        '65 levels',
        (w) => w.send(deliveryOf(w, `${'['.repeat(65)}${']'.repeat(65)}`)),
        400,
        'hook_body',
        'deep',
      ],
      [
        'a byte more than 4 MiB',
        (w) => w.send(deliveryOf(w, Buffer.alloc(4 * 1024 * 1024 + 1, 0x20))),
        413,
        'body_too_large',
      ],
    ]),
  ]
}

function pushOf(changes: object): (world: HostileWorld) => Promise<Answer> {
  return (world) => world.send(deliveryOf(world, push(changes)))
}

function signatureTwice(world: HostileWorld): ReturnType<typeof deliveryOf> {
  const delivery = deliveryOf(world, push())
  const own = ['x-hub-signature-256', headerOf(delivery, 'x-hub-signature-256')] as const
  return { ...delivery, headers: [...delivery.headers, own] }
}
