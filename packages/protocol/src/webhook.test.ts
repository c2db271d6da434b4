import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Fields } from './http-signature/message.ts'
import { parsePush } from './push-payload.ts'
import { verifyDelivery, type WebhookProvider } from './webhook-verify.ts'

const NOW = new Date('2026-11-22T19:30:00Z')
const SECRET = 'correct horse'
const BODY = new TextEncoder().encode('{"ref":"refs/heads/main"}')
const HEX = createHmac('sha256', SECRET).update(BODY).digest('hex')

const HEX_FORMS: readonly [WebhookProvider, string, string, string, string][] = [
  ['github', 'X-Hub-Signature-256', 'sha256=', 'X-GitHub-Delivery', 'X-GitHub-Event'],
  ['gitea', 'X-Gitea-Signature', '', 'X-Gitea-Delivery', 'X-Gitea-Event'],
  ['forgejo', 'X-Forgejo-Signature', '', 'X-Forgejo-Delivery', 'X-Forgejo-Event'],
  ['bitbucket', 'X-Hub-Signature', 'sha256=', 'X-Request-UUID', 'X-Event-Key'],
]

describe.each(HEX_FORMS)('a delivery of %s', (provider, signature, prefix, delivery, event) => {
  it('is taken with its id and event, under the current or the previous secret', () => {
    const fields: Fields = [
      [signature, prefix + HEX],
      [delivery, 'id-1'],
      [event, 'push'],
    ]
    const expected = { ok: true, deliveryId: 'id-1', assurance: 'hmac', event: 'push' }
    expect(check(provider, fields)).toEqual(expected)
    expect(check(provider, fields, ['new', SECRET])).toEqual(expected)
    expect(check(provider, [[signature.toUpperCase(), prefix + HEX]])).toMatchObject({
      ok: true,
      deliveryId: null,
      event: null,
    })
  })

  it.each<[string, Fields, string]>([
    ['without a signature', [], 'unsigned'],
    ['with an empty signature', [[signature, '']], 'unsigned'],
    ['with another signature', [[signature, prefix + '0'.repeat(64)]], 'bad_signature'],
    ['with a truncated signature', [[signature, (prefix + HEX).slice(0, -2)]], 'malformed_signature'],
    ['with a longer signature', [[signature, `${prefix + HEX}00`]], 'malformed_signature'],
    ['with letters that are no hex', [[signature, `${prefix}${'z'.repeat(64)}`]], 'malformed_signature'],
    ['with another prefix', [[signature, `sha1=${HEX}`]], 'malformed_signature'],
    ['with hex in capitals', [[signature, prefix + HEX.toUpperCase()]], 'malformed_signature'],
    [
      'with base64',
      [[signature, prefix + Buffer.from(HEX, 'hex').toString('base64')]],
      'malformed_signature',
    ],
    ['with the scheme of another forge alone', [['X-Gitlab-Token', SECRET]], 'unsigned'],
    [
      'with two signatures',
      [
        [signature, prefix + HEX],
        [signature.toLowerCase(), prefix + HEX],
      ],
      'duplicate_header',
    ],
    ['with two signatures joined', [[signature, `${prefix + HEX}, ${prefix + HEX}`]], 'malformed_signature'],
  ])('is refused %s', (_what, fields, code) => {
    expect(check(provider, fields)).toEqual({ ok: false, code })
  })

  it('is refused for every body but its own, and without a secret', () => {
    const fields: Fields = [[signature, prefix + HEX]]
    const body = new Uint8Array([...BODY, 0x0a])
    expect(verifyDelivery({ provider, secrets: [SECRET], fields, body, now: NOW })).toMatchObject({
      code: 'bad_signature',
    })
    expect(check(provider, fields, [])).toMatchObject({ code: 'no_secret' })
    expect(check(provider, fields, [''])).toMatchObject({ code: 'no_secret' })
  })
})

describe('a delivery of any forge', () => {
  it('is taken for every body and secret that it was signed with, and refused once a bit of either changes', () => {
    const forge = fc.constantFrom(...HEX_FORMS)
    const secret = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(
        forge,
        secret,
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        fc.nat(),
        ([provider, header, prefix], key, body, place) => {
          const hex = createHmac('sha256', key).update(body).digest('hex')
          const fields: Fields = [[header, prefix + hex]]
          const taken = (secrets: readonly string[], bytes: Uint8Array) =>
            verifyDelivery({ provider, secrets, fields, body: bytes, now: NOW }).ok
          expect(taken([key], body)).toBe(true)
          expect(taken([`${key}x`], body)).toBe(false)
          const flipped = body.map((byte, at) => (at === place % body.length ? byte ^ 1 : byte))
          expect(taken([key], flipped)).toBe(false)
        },
      ),
    )
  })
})

describe('a delivery of forgejo', () => {
  it("falls back to Gitea's header only when its own is absent", () => {
    expect(
      check('forgejo', [
        ['X-Gitea-Signature', HEX],
        ['X-Gitea-Delivery', 'g'],
      ]),
    ).toMatchObject({ ok: true, deliveryId: 'g' })
    const bad: Fields = [
      ['X-Forgejo-Signature', '0'.repeat(64)],
      ['X-Gitea-Signature', HEX],
    ]
    expect(check('forgejo', bad)).toMatchObject({ code: 'bad_signature' })
  })
})

describe('a delivery of gitlab', () => {
  const standard = (id: string, timestamp: number, key: string | Uint8Array = SECRET) =>
    `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(BODY).digest('base64')}`
  const at = NOW.getTime() / 1000
  const fields = (signature: string, timestamp = at, id = 'msg_1'): Fields => [
    ['webhook-id', id],
    ['webhook-timestamp', String(timestamp)],
    ['webhook-signature', signature],
    ['X-Gitlab-Event', 'Push Hook'],
  ]

  it('verifies the sample of Standard Webhooks', () => {
    const answer = verifyDelivery({
      provider: 'gitlab',
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
      fields: [
        ['webhook-id', 'msg_p5jXN8AQM9LWM0D4loKWxJek'],
        ['webhook-timestamp', '1614265330'],
        ['webhook-signature', 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='],
      ],
      body: new TextEncoder().encode('{"test": 2432232314}'),
      now: new Date(1614265330 * 1000),
    })
    expect(answer).toMatchObject({ ok: true, assurance: 'hmac', deliveryId: 'msg_p5jXN8AQM9LWM0D4loKWxJek' })
  })

  it('is taken with one good signature among several', () => {
    const list = `v1a,AAAA v1,${'A'.repeat(43)}= ${standard('msg_1', at)}`
    expect(check('gitlab', fields(list))).toEqual({
      ok: true,
      deliveryId: 'msg_1',
      assurance: 'hmac',
      event: 'Push Hook',
    })
  })

  it.each<[string, Fields, string]>([
    ['301 s old', fields(standard('msg_1', at - 301), at - 301), 'stale_timestamp'],
    ['301 s ahead', fields(standard('msg_1', at + 301), at + 301), 'stale_timestamp'],
    ['with another id', fields(standard('msg_1', at), at, 'msg_2'), 'bad_signature'],
    ['with another time', fields(standard('msg_1', at), at + 1), 'bad_signature'],
    ['with a key of somebody else', fields(standard('msg_1', at, 'other')), 'bad_signature'],
    [
      'with an unknown version only',
      fields(standard('msg_1', at).replace('v1,', 'v2,')),
      'malformed_signature',
    ],
    [
      'with a time that is no integer',
      fields(standard('msg_1', at)).map(([n, v]) => [n, n === 'webhook-timestamp' ? '1e9' : v]),
      'malformed_signature',
    ],
    ['without an id', fields(standard('msg_1', at)).slice(1), 'unsigned'],
    [
      'with a token beside a bad signature',
      [...fields(`v1,${'A'.repeat(43)}=`), ['X-Gitlab-Token', SECRET]],
      'bad_signature',
    ],
    [
      'with a token beside a lone id',
      [
        ['webhook-id', 'x'],
        ['X-Gitlab-Token', SECRET],
      ],
      'unsigned',
    ],
    ['with another token', [['X-Gitlab-Token', 'wrong']], 'bad_signature'],
    ['with a prefix of the token', [['X-Gitlab-Token', SECRET.slice(0, -1)]], 'bad_signature'],
    ['with an empty token', [['X-Gitlab-Token', '']], 'unsigned'],
    [
      'with two tokens',
      [
        ['X-Gitlab-Token', SECRET],
        ['x-gitlab-token', SECRET],
      ],
      'duplicate_header',
    ],
  ])('is refused %s', (_what, given, code) => {
    expect(check('gitlab', given)).toEqual({ ok: false, code })
  })

  it('is taken at the edge of the window, and with the bare token at a lower assurance', () => {
    expect(check('gitlab', fields(standard('msg_1', at - 300), at - 300))).toMatchObject({ ok: true })
    const token: Fields = [
      ['X-Gitlab-Token', SECRET],
      ['X-Gitlab-Event-UUID', 'u-1'],
    ]
    expect(check('gitlab', token)).toEqual({ ok: true, deliveryId: 'u-1', assurance: 'bearer', event: null })
  })
})

describe('what a push says', () => {
  const AFTER = 'a5fd3ee30236379eac5b7bc3ddc09a25aab4b59d'
  const push = {
    ref: 'refs/heads/feature/x',
    after: AFTER,
    repository: { clone_url: 'https://git.example.com/o/r.git' },
    head_commit: { id: AFTER, timestamp: '2026-11-22T20:00:00+01:00' },
  }
  const read = (value: unknown, provider: WebhookProvider = 'github', event: string | null = null) =>
    parsePush({ provider, event }, new TextEncoder().encode(JSON.stringify(value)))

  it.each(['github', 'gitea', 'forgejo'] as const)('of %s is one branch', (provider) => {
    expect(read(push, provider, 'push')).toEqual({
      kind: 'push',
      repositoryUrls: ['https://git.example.com/o/r.git'],
      branches: [{ branch: 'feature/x', after: AFTER, committedAt: '2026-11-22T20:00:00+01:00' }],
    })
  })

  it('of gitlab has its own names', () => {
    const gitlab = {
      ref: 'refs/heads/main',
      checkout_sha: AFTER,
      project: { web_url: 'https://gitlab.example.com/o/r' },
    }
    expect(read(gitlab, 'gitlab', 'Push Hook')).toEqual({
      kind: 'push',
      repositoryUrls: ['https://gitlab.example.com/o/r'],
      branches: [{ branch: 'main', after: AFTER, committedAt: null }],
    })
  })

  it('of bitbucket may move several branches', () => {
    const change = (name: string, type = 'branch') => ({
      new: { type, name, target: { hash: AFTER, date: '2026-11-22T19:00:00Z' } },
    })
    const repository = { links: { html: { href: 'https://bitbucket.org/o/r' } } }
    const bitbucket = {
      repository,
      push: { changes: [change('main'), { new: null }, change('v1', 'tag'), change('dev')] },
    }
    const outcome = read(bitbucket, 'bitbucket', 'repo:push')
    expect(outcome.kind === 'push' ? outcome.branches.map((one) => one.branch) : outcome).toEqual([
      'main',
      'dev',
    ])
    expect(read({ repository, push: { changes: [{ new: null }] } }, 'bitbucket')).toEqual({
      kind: 'ignored',
      because: 'branch-deleted',
    })
  })

  it.each<[string, unknown, string | null, object]>([
    [
      'a deleted branch',
      { ...push, after: '0'.repeat(40) },
      'push',
      { kind: 'ignored', because: 'branch-deleted' },
    ],
    ['a tag', { ...push, ref: 'refs/tags/v1' }, 'push', { kind: 'ignored', because: 'tag' }],
    ['a note', { ...push, ref: 'refs/notes/x' }, 'push', { kind: 'ignored', because: 'no-branch' }],
    ['a ping', { zen: 'x' }, 'ping', { kind: 'ignored', because: 'not-a-push' }],
    ['something without a ref', { zen: 'x' }, null, { kind: 'ignored', because: 'not-a-push' }],
    ['no commit', { ...push, after: null }, 'push', { kind: 'malformed' }],
    ['a short commit', { ...push, after: 'a5fd3ee' }, 'push', { kind: 'malformed' }],
    ['no repository', { ...push, repository: {} }, 'push', { kind: 'malformed' }],
    ['a list', [], 'push', { kind: 'malformed' }],
  ])('about %s is said', (_what, value, event, expected) => {
    expect(read(value, 'github', event)).toMatchObject(expected)
  })

  it('names the remedy when the body is a form', () => {
    const outcome = parsePush(
      { provider: 'github', event: 'push' },
      new TextEncoder().encode('payload=%7B%7D'),
    )
    expect(outcome).toMatchObject({ kind: 'malformed', detail: expect.stringContaining('application/json') })
  })
})

function check(provider: WebhookProvider, fields: Fields, secrets: readonly string[] = [SECRET]) {
  return verifyDelivery({ provider, secrets, fields, body: BODY, now: NOW })
}
