import { ROUTES } from '@crystal-forge/functions/routes.ts'
import { generateKeyPair, keyId, parseSeed, publicKeyOfSeed, renderPublicKey } from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Answer, addTenant, addToken, type OperatorWorld, operatorWorld, path, rev } from './world.ts'

let world: OperatorWorld
const publicKey = (): string => renderPublicKey(generateKeyPair().publicKey)
const events = async (type: string): Promise<Record<string, unknown>[]> =>
  await world.rows(
    `select convert_from(body, 'UTF8')::jsonb as body from audit_event where type = $1 and tenant_id = $2 order by id`,
    [type, world.tenant],
  )
const everything = (): Promise<Record<string, unknown>[]> =>
  world.rows(
    `select (select jsonb_agg(s order by s.id) from system s) as systems, (select jsonb_agg(k order by k.key_id) from system_key k) as keys,
            (select jsonb_agg(f order by f.id) from flake f) as flakes, (select jsonb_agg(h order by h.id) from hook h) as hooks,
            (select count(*) from audit_event) as events, (select count(*) from job) as jobs,
            (select jsonb_agg(e order by e.id) from environment e) as environments, (select count(*) from api_token) as tokens`,
  )

beforeAll(async () => {
  world = await operatorWorld()
})
afterAll(() => world.stop())

const flake = { name: 'fleet', repo_url: 'git+ssh://git@git.example.com/ops/fleet', initial_commit_depth: 3 }
const hook = { flake: 'fleet', provider: 'github', secret: 'a secret of more than 16' }

describe('a declaration', () => {
  const key = publicKey()
  const document = {
    environments: [{ name: 'production', risk_profile: 'HIGH' }],
    flakes: [flake],
    hooks: [hook],
    builders: [{ name: 'builder-1', public_key: publicKey() }],
    systems: [
      {
        hostname: 'web-1',
        public_key: key,
        environment: 'production',
        flake_name: 'fleet',
        deployment_policy: 'auto_latest',
      },
      { hostname: 'web-2', environment: 'staging', flake_name: 'fleet', configuration: 'web' },
    ],
  }

  test('a dry run says what would happen and changes nothing', async () => {
    const before = await everything()
    const { status, body } = await world.api('PUT', '/v1/fleet?dry_run=true', { body: document })
    expect(status).toBe(200)
    expect(body.applied).toBe(false)
    expect(
      body.changes.map(
        (one: { action: string; kind: string; name: string }) => `${one.action} ${one.kind} ${one.name}`,
      ),
    ).toEqual([
      'create environment production',
      'create environment staging',
      'create flake fleet',
      'create hook fleet/github',
      'create builder builder-1',
      'create key builder-1',
      'create system web-1',
      'create key web-1',
      'create system web-2',
    ])
    expect(await everything()).toEqual(before)
  })

  test('applying it once registers everything with one event, queues a look at the branch, and tells the hook path', async () => {
    const { body } = await world.api('PUT', '/v1/fleet', { body: document })
    expect(body.applied).toBe(true)
    const made = body.changes.find((one: { kind: string }) => one.kind === 'hook')
    expect(made.path).toMatch(/^\/v1\/hooks\/[A-Za-z0-9_-]{22,}$/)
    const [event] = await events('config.changed')
    expect(event).toMatchObject({
      body: { change: 'fleet', created: 9, actor: { kind: 'operator', name: 'admin of a test' } },
    })
    expect(await world.rows(`select kind, state from job`)).toEqual([{ kind: 'resolve', state: 'queued' }])
    const [stored] = await world.rows('select secret_sealed from hook')
    expect(String(stored?.['secret_sealed'])).not.toContain('a secret')
    expect(JSON.stringify(await events('config.changed'))).not.toContain('a secret')
  })

  test('applying it again keeps everything and writes nothing', async () => {
    const before = await everything()
    const { body } = await world.api('PUT', '/v1/fleet', { body: document })
    expect(new Set(body.changes.map((one: { action: string }) => one.action))).toEqual(new Set(['keep']))
    expect(body.changes.find((one: { kind: string }) => one.kind === 'hook').path).toMatch(/^\/v1\/hooks\//)
    expect(await everything()).toEqual(before)
  })

  test('a target that an operator has set is not overwritten by a declaration that does not mention it', async () => {
    const target = path('a', 'system')
    const patched = await world.api('PATCH', '/v1/systems/web-1', {
      role: 'operator',
      body: { desired_target: target },
    })
    expect(patched).toMatchObject({ status: 200, body: { desired_target: target, policy: 'auto_latest' } })
    await world.api('PUT', '/v1/fleet', { body: document })
    expect((await world.api('GET', '/v1/systems/web-1')).body.desired_target).toBe(target)
    const cleared = {
      ...document,
      systems: document.systems.map((one) => ({ ...one, desired_target: null })),
    }
    await world.api('PUT', '/v1/fleet', { body: cleared })
    expect((await world.api('GET', '/v1/systems/web-1')).body.desired_target).toBeNull()
  })

  test('a new public key revokes the one before it, and the old one does not come back', async () => {
    const next = publicKey()
    const changed = { systems: [{ ...document.systems[0], public_key: next }] }
    const { body } = await world.api('PUT', '/v1/fleet', { body: changed })
    expect(body.changes).toContainEqual(
      expect.objectContaining({ action: 'update', kind: 'key', name: 'web-1' }),
    )
    const keys = (await world.api('GET', '/v1/systems/web-1')).body.keys
    expect(keys.map((one: { public_key: string; status: string }) => [one.public_key, one.status])).toEqual(
      expect.arrayContaining([
        [next, 'active'],
        [key, 'revoked'],
      ]),
    )
    const again = await world.api('PUT', '/v1/fleet', { body: document })
    const step = again.body.changes.find(
      (one: { kind: string; name: string }) => one.kind === 'key' && one.name === 'web-1',
    )
    expect(step).toMatchObject({ action: 'keep' })
    expect(step.note).toContain(next)
    expect((await world.api('GET', '/v1/systems/web-1')).body.keys).toHaveLength(2)
  })

  test('what is not declared any more is named, and deactivated with prune only; declared again it comes back', async () => {
    const less = { flakes: [flake], systems: [document.systems[1]] }
    const kept = await world.api('PUT', '/v1/fleet', { body: less })
    expect(kept.body.undeclared).toEqual([
      { kind: 'hook', name: 'fleet/github' },
      { kind: 'builder', name: 'builder-1' },
      { kind: 'system', name: 'web-1' },
    ])
    expect((await world.api('GET', '/v1/systems?active=true')).body.items).toHaveLength(2)
    await world.api('PUT', '/v1/fleet?prune=true', { body: less })
    expect((await world.api('GET', '/v1/systems?active=true')).body.items).toHaveLength(1)
    const back = await world.api('PUT', '/v1/fleet', { body: document })
    expect(back.body.changes).toContainEqual(
      expect.objectContaining({ action: 'reactivate', kind: 'system', name: 'web-1' }),
    )
    expect(back.body.undeclared).toEqual([])
  })

  test.each([
    [
      'a key of another host',
      { systems: [{ hostname: 'thief', public_key: key }] },
      409,
      'key_in_use',
      'web-1',
    ],
    [
      'one key for two hosts',
      { systems: ['a', 'b'].map((hostname) => ({ hostname, public_key: renderPublicKey(SAME) })) },
      409,
      'key_in_use',
      '"a"',
    ],
    [
      'a key of small order',
      { systems: [{ hostname: 'x', public_key: `AQ${'A'.repeat(41)}=` }] },
      422,
      'key_refused',
      'small_order',
    ],
    [
      'an unknown flake',
      { systems: [{ hostname: 'x', flake_name: 'nope' }] },
      422,
      'unknown_flake',
      'flake_name of "x" is "nope"',
    ],
    ['a hook of an unknown flake', { hooks: [{ ...hook, flake: 'nope' }] }, 422, 'unknown_flake', 'nope'],
    [
      'a new hook without a secret',
      { flakes: [flake], hooks: [{ flake: 'fleet', provider: 'gitlab' }] },
      422,
      'invalid_fleet',
      'secret_file',
    ],
    ['a host twice', { systems: [{ hostname: 'x' }, { hostname: 'x' }] }, 422, 'invalid_body', 'twice'],
    [
      'a reference with options',
      { flakes: [{ name: 'f', repo_url: 'https://git.example.com/a/b?allow=1' }] },
      422,
      'invalid_fleet',
      'allow',
    ],
    [
      'a path without local',
      { flakes: [{ name: 'f', repo_url: '/srv/fleet' }] },
      422,
      'invalid_fleet',
      'local = true',
    ],
    [
      'credentials in a URL',
      { flakes: [{ name: 'f', repo_url: 'https://me:pw@git.example.com/a/b' }] },
      422,
      'invalid_fleet',
      'netrc',
    ],
    [
      'plain http',
      { flakes: [{ name: 'f', repo_url: 'http://git.example.com/a/b' }] },
      422,
      'invalid_fleet',
      'https://',
    ],
    [
      'two branches',
      { flakes: [{ name: 'f', repo_url: 'https://git.example.com/a/b?ref=x', branch: 'y' }] },
      422,
      'invalid_fleet',
      'branch',
    ],
    [
      'a configuration without a flake',
      { systems: [{ hostname: 'x', configuration: 'y' }] },
      422,
      'invalid_fleet',
      'flake_name',
    ],
    [
      'a target that is no store path',
      { systems: [{ hostname: 'x', desired_target: '/etc/passwd' }] },
      422,
      'invalid_body',
      '/etc/passwd',
    ],
    ['an unknown member', { systems: [{ hostname: 'x', colour: 'red' }] }, 422, 'invalid_body', 'colour'],
    [
      'SQL in a name',
      { environments: [{ name: "x'); drop table system; --\u0000" }] },
      422,
      'invalid_body',
      'environments.0.name',
    ],
    [
      'an environment without a name',
      { environments: [{ name: '' }] },
      422,
      'invalid_body',
      'environments.0.name',
    ],
    [
      'a host in an environment without a name',
      { systems: [{ hostname: 'x', environment: '' }] },
      422,
      'invalid_body',
      'systems.0.environment',
    ],
    [
      'a configuration without a name',
      { flakes: [flake], systems: [{ hostname: 'x', flake_name: 'fleet', configuration: '' }] },
      422,
      'invalid_body',
      'systems.0.configuration',
    ],
    [
      'a name of a host that no configuration can have',
      { flakes: [flake], systems: [{ hostname: 'x'.repeat(129), flake_name: 'fleet' }] },
      422,
      'invalid_body',
      'too long for the name of a configuration',
    ],
    ['a duplicate member', '{"systems":[],"systems":[]}', 400, 'invalid_json', 'twice'],
    ['no JSON', '[[systems]]', 400, 'invalid_json', 'well formed'],
    ['a list', '[]', 422, 'invalid_body', 'the body'],
  ])('%s is refused and nothing changes', async (_, body, status, code, words) => {
    const before = await everything()
    const answer = await world.api('PUT', '/v1/fleet', { body })
    expect(answer).toMatchObject({ status, body: { code } })
    expect(answer.body.detail).toContain(words)
    expect(JSON.stringify(answer.body)).not.toContain(':pw@')
    expect(await everything()).toEqual(before)
  })

  test.each([
    ['environment', ''],
    ['configuration', ''],
  ])('a change of the %s to a name that is none is refused', async (member, value) => {
    const before = await everything()
    const answer = await world.api('PATCH', '/v1/systems/web-1', { body: { [member]: value } })
    expect(answer).toMatchObject({ status: 422, body: { code: 'invalid_body' } })
    expect(answer.body.detail).toContain(member)
    expect(await everything()).toEqual(before)
  })

  test('a host of any name may be declared when it names its configuration or follows no flake', async () => {
    const hostname = 'x'.repeat(129)
    for (const rest of [{ flake_name: 'fleet', configuration: 'x' }, {}]) {
      const body = { flakes: [flake], systems: [{ hostname, ...rest }] }
      expect((await world.api('PUT', '/v1/fleet?dry_run=true', { body })).status).toBe(200)
    }
  })

  test('a key that another tenant has is refused without saying whose it is', async () => {
    const other = await addTenant(world.database, 'two')
    const pair = generateKeyPair()
    await world.rows('insert into system (id, tenant_id, hostname) values ($1, $2, $3)', [
      'sys_two',
      other,
      'theirs',
    ])
    await world.rows(
      'insert into system_key (key_id, tenant_id, system_id, hostname, public_key) values ($1, $2, $3, $4, $5)',
      [keyId(pair.publicKey), other, 'sys_two', 'theirs', Buffer.from(pair.publicKey)],
    )
    const body = { systems: [{ hostname: 'web-9', public_key: renderPublicKey(pair.publicKey) }] }
    const answer = await world.api('PUT', '/v1/fleet', { body })
    expect(answer).toMatchObject({ status: 409, body: { code: 'key_in_use' } })
    expect(JSON.stringify(answer.body)).not.toContain('theirs')
    expect((await world.api('GET', '/v1/systems/web-9')).status).toBe(404)
    expect((await world.api('GET', '/v1/systems/theirs')).status).toBe(404)
  })

  test('a path of the machine is for an admin', async () => {
    const local = { name: 'local', repo_url: '/srv/fleet', local: true }
    expect(await world.api('POST', '/v1/flakes', { role: 'operator', body: local })).toMatchObject({
      status: 403,
      body: { code: 'local_needs_admin' },
    })
    expect(await world.api('POST', '/v1/flakes', { body: local })).toMatchObject({
      status: 201,
      body: { source: 'local' },
    })
  })
})

const SAME = generateKeyPair().publicKey

describe('systems and flakes', () => {
  test('a system is registered, changed and deactivated, each with its event', async () => {
    const before = (await events('config.changed')).length
    const made = await world.api('POST', '/v1/systems', {
      role: 'operator',
      body: { hostname: 'db-1', flake_name: 'fleet' },
    })
    expect(made).toMatchObject({
      status: 201,
      body: { hostname: 'db-1', configuration: 'db-1', verdict: 'never_seen' },
    })
    expect(await world.api('POST', '/v1/systems', { body: { hostname: 'db-1' } })).toMatchObject({
      status: 409,
      body: { code: 'system_exists' },
    })
    const patched = await world.api('PATCH', `/v1/systems/${made.body.id}`, {
      body: { configuration: 'db', deployment_policy: 'pinned' },
    })
    expect(patched.body).toMatchObject({ configuration: 'db', policy: 'pinned', flake: 'fleet' })
    expect(await world.api('POST', '/v1/systems/db-1/deactivate')).toMatchObject({
      status: 200,
      body: { active: false },
    })
    expect(await world.api('POST', '/v1/systems/db-1/deactivate')).toMatchObject({ status: 200 })
    expect((await world.api('PATCH', '/v1/systems/db-1', { body: {} })).status).toBe(404)
    expect((await events('config.changed')).length).toBe(before + 3)
  })

  test('a flake is changed, polled and deactivated', async () => {
    await world.api('POST', '/v1/flakes', { body: { name: 'other', repo_url: 'github:o/r/trunk' } })
    expect((await world.api('GET', '/v1/flakes/other')).body).toMatchObject({
      branch: 'trunk',
      source: 'forge',
      systems: 0,
    })
    const patched = await world.api('PATCH', '/v1/flakes/other', {
      body: { branch: 'main', repo_url: 'github:o/r', auto_poll: false },
    })
    expect(patched.body).toMatchObject({ branch: 'main', auto_poll: false, repo_url: 'github:o/r' })
    expect(await world.api('POST', '/v1/flakes/other/poll', { role: 'operator' })).toMatchObject({
      status: 202,
      body: { fresh: false },
    })
    expect((await world.api('POST', '/v1/flakes/other/deactivate')).body.active).toBe(false)
    expect(await world.api('POST', '/v1/flakes/other/poll')).toMatchObject({ status: 409 })
    expect((await world.api('POST', '/v1/flakes/nope/poll')).status).toBe(404)
  })

  test('a further key is added, and keys are revoked by their id without its prefix', async () => {
    await world.api('POST', '/v1/systems', { body: { hostname: 'keyed' } })
    const pair = generateKeyPair()
    const added = await world.api('POST', '/v1/systems/keyed/keys', {
      body: { public_key: renderPublicKey(pair.publicKey) },
    })
    expect(added).toMatchObject({ status: 201, body: { key_id: keyId(pair.publicKey) } })
    const again = await world.api('POST', '/v1/systems/keyed/keys', {
      body: { public_key: renderPublicKey(pair.publicKey) },
    })
    expect(again).toMatchObject({ status: 409, body: { code: 'key_in_use' } })
    const id = keyId(pair.publicKey).slice('ed25519:'.length)
    const revoked = await world.api('POST', `/v1/keys/${id}/revoke`, { body: { because: 'laptop lost' } })
    expect(revoked).toMatchObject({
      status: 200,
      body: { owner: 'system', name: 'keyed', status: 'revoked' },
    })
    await world.api('POST', `/v1/keys/${id}/revoke`)
    const recorded = await events('key.revoked')
    expect(recorded).toHaveLength(1)
    expect(recorded[0]).toMatchObject({ body: { because: 'laptop lost', name: 'keyed' } })
    expect((await world.api('POST', `/v1/keys/${'x'.repeat(43)}/revoke`)).status).toBe(404)
  })

  test('the original wire is opened for named hosts until a time, and closed for all', async () => {
    await world.api('POST', '/v1/systems', { body: { hostname: 'old-1', public_key: publicKey() } })
    const until = new Date(Date.now() + 86_400_000).toISOString()
    const opened = await world.api('POST', '/v1/original-wire', { body: { until, systems: ['old-1'] } })
    expect(opened).toMatchObject({ status: 200, body: { until, systems: ['old-1'] } })
    const [row] = await world.rows(
      `select (select original_wire_until from tenant where id = $1) is not null as tenant,
              (select count(*) from system_key where original_wire_until is not null) as keys`,
      [world.tenant],
    )
    expect(row).toEqual({ tenant: true, keys: 1 })
    expect(
      (await world.api('POST', '/v1/original-wire', { body: { until, systems: ['nobody'] } })).status,
    ).toBe(404)
    expect(
      (await world.api('POST', '/v1/original-wire', { body: { until: '2020-01-01T00:00:00Z' } })).status,
    ).toBe(422)
    await world.api('POST', '/v1/original-wire', { body: { until: null } })
    expect(
      await world.rows(
        'select 1 from system_key where original_wire_until is not null union all select 1 from tenant where original_wire_until is not null',
      ),
    ).toEqual([])
  })
})

describe('tokens', () => {
  test('a token is shown once, works, is listed without its text, and is refused from its revocation on', async () => {
    const made = await world.api('POST', '/v1/tokens', {
      body: { name: 'ci', role: 'viewer', expires_in_s: 3600 },
    })
    expect(made.status).toBe(201)
    expect(made.body.token).toMatch(/^cf_[A-Za-z0-9_-]{43}$/)
    const asCi = (): Promise<Response> =>
      fetch(`${world.url}/v1/systems`, { headers: { authorization: `Bearer ${made.body.token}` } })
    expect((await asCi()).status).toBe(200)
    const listed = await world.api('GET', '/v1/tokens')
    expect(listed.body.items.map((one: { name: string }) => one.name)).toContain('ci')
    expect(JSON.stringify(listed.body)).not.toContain(made.body.token)
    expect(JSON.stringify(await events('token.created'))).not.toContain(made.body.token)
    await world.api('POST', `/v1/tokens/${made.body.id}/revoke`)
    expect((await asCi()).status).toBe(401)
    expect(await events('token.revoked')).toHaveLength(1)
  })

  test('an enrolment token is a seed of which only the public half is kept', async () => {
    const made = await world.api('POST', '/v1/enroll-tokens', {
      body: { hostname: 'web-*', environment: 'production', flake: 'fleet' },
    })
    expect(made.status).toBe(201)
    const seed = parseSeed(Buffer.from(made.body.token, 'base64url').toString('base64'))
    if (seed === null) throw new Error('the token is no seed')
    const [row] = await world.rows(
      'select key_id, hostname_pattern, flake_id is not null as flake from enroll_token',
    )
    expect(row).toEqual({ key_id: keyId(publicKeyOfSeed(seed)), hostname_pattern: 'web-*', flake: true })
    expect(
      await world.api('POST', '/v1/enroll-tokens', { body: { hostname: 'x', expires_in_s: 86_401 } }),
    ).toMatchObject({ status: 422 })
    expect(
      await world.api('POST', '/v1/enroll-tokens', { body: { hostname: 'x', flake: 'nope' } }),
    ).toMatchObject({
      status: 422,
      body: { code: 'unknown_flake' },
    })
    expect(
      await world.api('POST', '/v1/enroll-tokens', { body: { hostname: 'x', environment: 'nope' } }),
    ).toMatchObject({ status: 422 })
  })

  test('enrolment tokens are listed by what became of them, and taken back until they are used', async () => {
    const make = async (hostname: string): Promise<string> =>
      (await world.api('POST', '/v1/enroll-tokens', { body: { hostname } })).body.id
    const [open, used, late, back] = [
      await make('edge-1'),
      await make('edge-2'),
      await make('edge-3'),
      await make('edge-*'),
    ]
    await world.rows(
      `update enroll_token set used_at = now(), used_by_system_id = (select id from system order by hostname limit 1) where id = $1`,
      [used],
    )
    await world.rows(
      `update enroll_token set created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' where id = $1`,
      [late],
    )
    const before = (await events('token.revoked')).length
    const revoke = (id: string): Promise<Answer> => world.api('POST', `/v1/enroll-tokens/${id}/revoke`)
    expect(await revoke(back)).toMatchObject({
      status: 200,
      body: { id: back, state: 'revoked', revoked_at: expect.any(String) },
    })
    expect((await revoke(back)).status).toBe(200)
    expect(await revoke(used)).toMatchObject({
      status: 409,
      body: { code: 'token_used', detail: expect.stringContaining('revoke the key of that host') },
    })
    expect(await revoke('enr_nope')).toMatchObject({ status: 404, body: { code: 'unknown_enroll_token' } })
    const written = (await events('token.revoked')).slice(before)
    expect(written, 'once for each revocation').toHaveLength(1)
    expect(JSON.stringify(written)).toContain(back)
    const states = async (query: string): Promise<string[]> =>
      (await world.api('GET', `/v1/enroll-tokens?${query}`)).body.items.map(
        (one: { id: string; state: string }) => `${one.id} ${one.state}`,
      )
    expect(await states('q=EDGE')).toEqual([
      `${back} revoked`,
      `${late} expired`,
      `${used} used`,
      `${open} open`,
    ])
    for (const [id, state] of [
      [open, 'open'],
      [used, 'used'],
      [late, 'expired'],
      [back, 'revoked'],
    ])
      expect(await states(`q=edge&state=${state}`)).toEqual([`${id} ${state}`])
    const first = await world.api('GET', '/v1/enroll-tokens?q=edge&limit=1')
    expect(await states(`q=edge&limit=2&cursor=${first.body.next_cursor}`)).toEqual([
      `${late} expired`,
      `${used} used`,
    ])
    await expect(
      world.rows('update enroll_token set revoked_at = now() where id = $1', [used]),
      'the database knows it as well',
    ).rejects.toThrow(/enroll_token_used_or_revoked/)
  })

  test('every route asks for its role', async () => {
    for (const { key, role } of ROUTES.filter((route) => route.caller === 'operator')) {
      const [method = '', template = ''] = key.split(' ')
      const at = template.replace(/\{[a-z]+\}/g, 'x')
      expect(await world.api(method, at, { role: null }), key).toMatchObject({
        status: 401,
        body: { code: 'token_refused' },
      })
      const low = { operator: 'viewer', admin: 'approver', viewer: null, approver: null } as const
      const less = role === undefined ? null : low[role]
      if (less !== null)
        expect(await world.api(method, at, { role: less }), key).toMatchObject({
          status: 403,
          body: { code: 'role_too_low' },
        })
      const most = await world.api(method, at, { role: 'admin', ...(method === 'GET' ? {} : { body: {} }) })
      expect(most.body.code, key).not.toBe('no_route')
      expect(most.status, key).toBeLessThan(500)
    }
  })

  test('a token of another tenant sees nothing of this one', async () => {
    const other = await addTenant(world.database, 'three')
    const token = await addToken(world.database, other, 'admin')
    for (const list of [
      'systems',
      'flakes',
      'events',
      'tokens',
      'enroll-tokens',
      'jobs',
      'environments',
      'hooks',
    ]) {
      const response = await fetch(`${world.url}/v1/${list}`, {
        headers: { authorization: `Bearer ${token}` },
      })
      const body = JSON.parse(await response.text())
      expect(
        body.items.filter((one: { created_by?: string }) => one.created_by !== 'test'),
        list,
      ).toEqual([])
    }
  })
})

describe('lists', () => {
  beforeAll(async () => {
    await world.commits('fleet', [rev('a'), rev('b'), rev('c')])
    await world.evaluate(rev('a'), 'web-1', { outPath: path('p', 'system') })
    await world.evaluate(rev('a'), 'web', { error: 'error: attribute missing' })
  })

  test('pages follow each other without a gap or a repetition', async () => {
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const { body } = await world.api(
        'GET',
        `/v1/commits?limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`,
      )
      expect(body.items).toHaveLength(1)
      seen.push(body.items[0].rev)
      cursor = body.next_cursor
    }
    expect(seen).toEqual([rev('c'), rev('b'), rev('a')])
  })

  test('commits, evaluations, derivations and jobs are found by their filters', async () => {
    const items = async (query: string) =>
      (await world.api('GET', `/v1/${query}`, { role: 'viewer' })).body.items
    expect(await items('commits?flake=fleet&state=evaluated')).toHaveLength(1)
    expect(await items(`commits?rev=${'b'.repeat(7)}`)).toMatchObject([{ rev: rev('b') }])
    expect(await items('evaluations?state=error')).toMatchObject([
      { configuration: 'web', error: 'error: attribute missing' },
    ])
    expect(await items(`evaluations?commit=${'a'.repeat(12)}&configuration=web-1`)).toMatchObject([
      { out_path: path('p', 'system') },
    ])
    expect(await items('derivations?state=pending')).toMatchObject([{ out_path: path('p', 'system') }])
    expect(await items('jobs?kind=build&state=queued')).toMatchObject([{ about: 'system' }])
    expect(await items('jobs?builder=nobody')).toEqual([])
    expect(await items('events?type=commit.discovered')).toHaveLength(3)
    expect(await items('builders')).toMatchObject([{ name: 'builder-1', active: true }])
    expect(await items('environments')).toMatchObject([
      { name: 'production', systems: 1 },
      { name: 'staging' },
    ])
    expect(await items('hooks?flake=fleet')).toHaveLength(1)
    expect((await world.api('GET', `/v1/commits/${'a'.repeat(8)}`)).body).toMatchObject({
      evaluations: 2,
      failed: 1,
    })
    const [error] = await items('evaluations?state=error')
    expect((await world.api('GET', `/v1/evaluations/${error.id}`)).body).toMatchObject({
      error_class: 'eval',
      facts: {},
    })
    expect((await world.api('GET', '/v1/cache')).body).toMatchObject({ items: [], totals: { closures: 0 } })
  })

  test('findings are those of the newest scan of running paths, with how much was scanned at all', async () => {
    await world.report('web-1', { current: path('p', 'system') })
    await world.rows(
      `with j as (insert into job (tenant_id, kind, subject, payload, state, finished_at) values ($1, 'scan', 'drv', '{}', 'succeeded', now()) returning id),
            c as (insert into cve (tenant_id, id, cvss3) values ($1, 'CVE-2026-0001', 9.8), ($1, 'CVE-2026-0002', null)),
            s as (insert into scan (tenant_id, derivation_id, out_path, job_id, outcome, scanner)
                  select $1, d.id, d.out_path, j.id, 'scanned', 'vulnix 1.10' from derivation d, j where d.out_path = $2 returning id),
            d as (update derivation set scan_state = 'scanned' where out_path = $2)
       insert into finding (tenant_id, scan_id, out_path, cve_id, package, version)
       select $1, s.id, $2, v.cve, 'openssl', '3.0.13' from s, (values ('CVE-2026-0001'), ('CVE-2026-0002')) v (cve)`,
      [world.tenant, path('p', 'system')],
    )
    const { body } = await world.api('GET', '/v1/findings?package=openssl&min_cvss=7')
    expect(body.items).toMatchObject([
      { hostname: 'web-1', cve: 'CVE-2026-0001', cvss3: 9.8, severity: 'critical', scanner: 'vulnix 1.10' },
    ])
    expect(body.coverage).toMatchObject({ scanned: 1, unscanned: 0 })
    expect(body.coverage.never_seen).toBeGreaterThan(0)
    const pages = await world.api('GET', '/v1/findings?limit=1')
    const next = await world.api('GET', `/v1/findings?limit=1&cursor=${pages.body.next_cursor}`)
    expect(next.body.items[0].cve).not.toBe(pages.body.items[0].cve)
    expect(next.body.next_cursor).toBeNull()
    expect((await world.api('GET', '/v1/systems/web-1/drift')).body.findings).toMatchObject({
      scan_state: 'scanned',
      items: [{}, {}],
    })
  })

  test('a job says why it waits; it is cancelled and tried again', async () => {
    const { body } = await world.api('GET', '/v1/jobs?kind=build')
    const id = body.items[0].id
    const waiting = await world.api('GET', `/v1/jobs/${id}/waiting`, { role: 'viewer' })
    expect(waiting.body.reasons.map((one: { code: string }) => one.code)).toEqual([
      'no_builder_for_platform',
      'unpublished',
    ])
    expect(await world.api('POST', `/v1/jobs/${id}/cancel`, { role: 'operator' })).toMatchObject({
      status: 200,
      body: { done: true },
    })
    expect(await world.api('POST', `/v1/jobs/${id}/cancel`)).toMatchObject({
      status: 409,
      body: { code: 'job_state' },
    })
    expect((await world.api('GET', `/v1/jobs/${id}`)).body).toMatchObject({
      state: 'cancelled',
      attempts: [],
    })
    const again = await world.api('POST', `/v1/jobs/${id}/retry`)
    expect(again).toMatchObject({ status: 200, body: { done: true } })
    expect((await world.api('GET', `/v1/jobs/${again.body.job}`)).body.state).toBe('queued')
    expect((await world.api('GET', '/v1/jobs/nope/waiting')).status).toBe(404)
  })
})

describe('hostile parameters', () => {
  let before: unknown
  beforeEach(async () => {
    before = await everything()
  })

  // A queue has no pages.
  const lists = ROUTES.filter(
    ({ caller, key }) => caller === 'operator' && /^GET \/v1\/[a-z]+$/.test(key) && key !== 'GET /v1/dlq',
  ).map(({ key }) => key.slice('GET '.length))
  const strings = [
    "'; drop table system; --",
    '%00',
    '%0d%0alevel=error',
    '../../etc/passwd',
    '{{7*7}}',
    '%ff',
    'x'.repeat(4000),
  ]

  test.each(lists)('%s refuses what it does not know and names it', async (list) => {
    for (const name of ['nope', 'tenant', 'tenant_id', '__proto__', "'; drop table system; --"]) {
      const answer = await world.api('GET', `${list}?${encodeURIComponent(name)}=1`)
      expect(answer, name).toMatchObject({ status: 400, body: { code: 'invalid_parameter' } })
      expect(answer.body.detail).toContain(JSON.stringify(name))
    }
    for (const value of ['0', '201', '-1', '1e3', 'all', '', '1;2'])
      expect(await world.api('GET', `${list}?limit=${value}`), value).toMatchObject({ status: 400 })
    for (const value of [
      '',
      '!!',
      'AA==',
      '%00',
      Buffer.from('\u0000').toString('base64url'),
      'A'.repeat(900),
    ])
      expect(await world.api('GET', `${list}?cursor=${value}`), value).toMatchObject({ status: 400 })
    expect(await world.api('GET', `${list}?limit=1&limit=2`)).toMatchObject({ status: 400 })
    const foreign = Buffer.from("z' or 1=1 --").toString('base64url')
    expect((await world.api('GET', `${list}?cursor=${foreign}`)).status).toBe(200)
    expect(await everything()).toEqual(before)
  })

  test('every filter takes every string as data, never as SQL or as a log line', async () => {
    const filters: Record<string, string[]> = {
      systems: ['flake', 'environment', 'verdict', 'health', 'q', 'active'],
      drift: ['flake', 'environment', 'verdict', 'health', 'q'],
      commits: ['flake', 'state', 'rev'],
      evaluations: ['flake', 'commit', 'configuration', 'state'],
      derivations: ['state', 'scan', 'path'],
      jobs: ['kind', 'state', 'builder'],
      findings: ['system', 'environment', 'flake', 'cve', 'package', 'min_cvss'],
      events: ['type', 'since'],
      hooks: ['flake'],
      flakes: ['active'],
    }
    const cases = Object.entries(filters).flatMap(([list, names]) =>
      names.flatMap((name) => strings.map((value) => ({ list, name, value }))),
    )
    await Promise.all(
      cases.map(async ({ list, name, value }) => {
        const answer = await world.api('GET', `/v1/${list}?${name}=${value}`)
        expect([200, 400], `${list} ${name} ${value}`).toContain(answer.status)
        if (answer.status === 200) expect(answer.body.items).toEqual([])
        else expect(answer.body.detail).toContain(name)
      }),
    )
    expect(world.logged.filter(({ level }) => level === 'error')).toEqual([])
    expect(await everything()).toEqual(before)
  })

  test.each(['x', '..%2f', 'a'.repeat(3000), "x'--", 'sys_%00'])(
    'the name %s in a path is an unknown one',
    async (name) => {
      for (const noun of ['systems', 'flakes', 'commits', 'evaluations', 'jobs', 'builders'])
        expect([400, 404, 431]).toContain((await world.api('GET', `/v1/${noun}/${name}`)).status)
      expect(await everything()).toEqual(before)
    },
  )
})

describe('the health route', () => {
  test('says that the database answers, and counts for whoever presents a token only', async () => {
    const open = await world.api('GET', '/status', { role: null })
    expect(open).toMatchObject({
      status: 200,
      body: { service: 'crystal-forge', status: 'healthy', database: 'healthy' },
    })
    expect(open.body).not.toHaveProperty('stats')
    const counted = await world.api('GET', '/status', { role: 'viewer' })
    expect(counted.body.stats).toEqual({
      total_systems: expect.any(Number),
      total_derivations: 1,
      pending_evaluations: 3,
    })
    const refused = await fetch(`${world.url}/status`, { headers: { authorization: 'Bearer cf_nope' } })
    expect(refused.status).toBe(401)
  })
})
