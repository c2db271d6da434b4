import { createHash } from 'node:crypto'
import { awsClients, type Bucket, bucket } from '@crystal-forge/aws'
import { expireLeases, inTransaction } from '@crystal-forge/postgres'
import { type BuildPayload, nix32OfHash, parseSeed, type SecretSeed } from '@crystal-forge/protocol'
import { evaluatedOk, fakePath, sri } from '../../pipeline/world.ts'
import { attestedBuild } from '../attested-build.ts'
import { builderOf, type Held, must, resolved, workOf } from '../builder-calls.ts'
import { deliveryOf, push } from '../deliveries.ts'
import type { Answer, RawRequest } from '../raw-http.ts'
import { type RunningServer, runServer } from '../running-server.ts'
import { ask, bytesOf, type Identity, makeIdentity, signed, signedTwice } from '../signed-call.ts'

/**
 * A running control plane with a fleet in every state that the attacks need: hosts that report, one that was revoked,
 * one that was deactivated; a build that is cached, one whose first attempt failed and whose second is held, an
 * evaluation that is held; operators of each role.
 */
export type HostileWorld = {
  readonly server: RunningServer
  readonly url: string
  readonly authority: string
  readonly hosts: Readonly<Record<'web' | 'db' | 'revoked' | 'retired' | 'stranger', Identity>>
  readonly builder: Identity
  readonly otherBuilder: Identity
  /** `garbled` has the right shape; nobody was ever given it. */
  readonly tokens: Readonly<
    Record<'viewer' | 'operator' | 'approver' | 'revoked' | 'expired' | 'garbled', string>
  >
  /** `unused` is for any host. */
  readonly enrol: Readonly<Record<'unused' | 'used' | 'expired' | 'revoked' | 'otherHost', SecretSeed>>
  readonly hookPath: string
  readonly hookSecret: string
  /** A delivery that was accepted. */
  readonly delivery: RawRequest
  /** A report that was accepted. */
  readonly report: RawRequest
  readonly systemIds: Readonly<Record<string, string>>
  /** The first attempt of the job of `heldBuild`, whose builder crashed: its fence is old. */
  readonly crashedBuild: Held
  /** Held by `builder`. */
  readonly heldBuild: Held
  readonly heldEvaluation: Held
  readonly finishedEvaluation: Held
  /** The bucket, and a path that is published in it. */
  readonly cache: { readonly objects: Bucket; readonly prefix: string; readonly cachedPath: Upload }
  /** Texts that must never stand in the log. */
  readonly secrets: ReadonlySet<string>
  operator(method: string, target: string, options?: OperatorCall): Promise<Answer>
  send(request: RawRequest): Promise<Answer>
  stop(): Promise<void>
}
export type OperatorCall = {
  /** `null`: no header at all. */
  readonly token?: string | null
  /** Bytes and texts go as they are, anything else as JSON. */
  readonly body?: unknown
  readonly headers?: readonly (readonly [string, string])[]
}

export async function createHostileWorld(): Promise<HostileWorld> {
  // Nothing happens by itself while the state is compared.
  const server = await runServer({ leaseS: 3600, sweepEveryS: 3600 })
  try {
    return await populate(server)
  } catch (error) {
    process.stderr.write(await server.log())
    await server.stop()
    throw error
  }
}

async function populate(server: RunningServer): Promise<HostileWorld> {
  const { url } = server.facts
  const authority = new URL(url).host
  const secrets = new Set<string>([server.adminToken])
  const send = (request: RawRequest): Promise<Answer> => {
    for (const [name, value] of request.headers) if (SECRET_HEADERS.has(name)) secrets.add(value)
    return ask(url, request)
  }
  const operator: HostileWorld['operator'] = (
    method,
    target,
    { token = server.adminToken, body, headers = [] } = {},
  ) => {
    if (token !== null) secrets.add(token)
    return send({
      method,
      target,
      headers: [
        ['host', authority],
        ...(token === null ? [] : [['authorization', `Bearer ${token}`] as const]),
        ...headers,
      ],
      ...(body === undefined ? {} : { body: bytesOf(body) }),
    })
  }
  const setUp = { server, authority, secrets, send, operator }
  const fleet = await declareFleet(setUp)
  const pipeline = await runPipeline(setUp, fleet)
  const report = await reportOnce(setUp, fleet)
  const people = await issueTokens(setUp)
  await operator('POST', `/v1/keys/${fleet.hosts.revoked.keyId.slice('ed25519:'.length)}/revoke`, {
    body: {},
  })
  await operator('POST', `/v1/systems/${fleet.hosts.retired.name}/deactivate`, { body: {} })
  await quiet(server)
  return {
    ...setUp,
    ...fleet,
    ...pipeline,
    ...people,
    url,
    report,
    systemIds: await systemIds(operator),
    stop: () => server.stop(),
  }
}

type SetUp = Pick<HostileWorld, 'server' | 'authority' | 'send' | 'operator'> & {
  readonly secrets: Set<string>
}
type Fleet = Pick<HostileWorld, 'hosts' | 'builder' | 'otherBuilder' | 'hookPath' | 'hookSecret'>

async function declareFleet({ operator, secrets }: SetUp): Promise<Fleet> {
  const hosts = {
    web: makeIdentity('web-1'),
    db: makeIdentity('db-1'),
    revoked: makeIdentity('revoked-1'),
    retired: makeIdentity('retired-1'),
    stranger: makeIdentity('stranger-1'),
  }
  const [builder, otherBuilder] = [makeIdentity('builder-1'), makeIdentity('builder-2')]
  const hookSecret = createHash('sha256').update('the secret of a hook').digest('hex')
  secrets.add(hookSecret)
  const declared = [hosts.web, hosts.db, hosts.revoked, hosts.retired]
  const answer = await must(
    200,
    operator('PUT', '/v1/fleet', {
      body: {
        environments: [{ name: 'production' }],
        flakes: [{ name: 'fleet', repo_url: 'https://git.example.com/acme/fleet', auto_poll: false }],
        hooks: [{ flake: 'fleet', provider: 'github', secret: hookSecret }],
        builders: [builder, otherBuilder].map(({ name, publicKey }) => ({ name, public_key: publicKey })),
        systems: declared.map(({ name, publicKey }) => ({
          hostname: name,
          public_key: publicKey,
          environment: 'production',
          flake_name: 'fleet',
        })),
      },
    }),
  )
  const changes = answer.body['changes'] as { kind: string; path?: string }[]
  const hookPath = changes.find(({ kind }) => kind === 'hook')?.path ?? ''
  return { hosts, builder, otherBuilder, hookSecret, hookPath }
}

/** Two pushes: the first is evaluated and one of its two systems lies in the cache, the second is being evaluated. */
async function runPipeline(
  setUp: SetUp,
  fleet: Fleet,
): Promise<
  Pick<
    HostileWorld,
    'crashedBuild' | 'heldBuild' | 'heldEvaluation' | 'finishedEvaluation' | 'cache' | 'delivery'
  >
> {
  const { server, send } = setUp
  const builder = builderOf(setUp, fleet.builder)
  for (const one of [fleet.builder, fleet.otherBuilder]) await builderOf(setUp, one).hello()
  await builder.result(await builder.claim('resolve'), resolved('one'))
  const finishedEvaluation = await builder.claim('evaluate')
  await must(
    200,
    builder.onJob(finishedEvaluation, 'evaluations', {
      evaluator: '2.34.8',
      evaluations: ['web-1', 'db-1'].map((name) => evaluatedOk(name)),
    }),
  )
  await builder.result(finishedEvaluation, { kind: 'evaluate', configurations: 2, failed: 0 })

  const { awsEndpoint, cacheUrl } = server.facts
  const [name = '', tenant = ''] = new URL(cacheUrl).pathname.slice(1).split('/')
  const objects = bucket(awsClients({ region: 'us-east-1', endpoint: { s3: awsEndpoint } }).s3, name)
  const built = await builder.claim('build')
  const upload = uploadOf(workOf(built))
  await objects.putIfAbsent(`${tenant}/${upload.url}`, NAR)
  await must(
    200,
    builder.call('/v1/builder/cache/commit', {
      job: built.job,
      fence: built.fence,
      paths: [upload],
      toplevel: upload.path,
    }),
  )
  await builder.result(
    built,
    attestedBuild(workOf(built), {
      job: built.job,
      seed: fleet.builder.seed,
      narHash: upload.nar_hash,
      narSize: upload.nar_size,
    }),
  )

  // A builder crashes: the lease of its attempt runs out, and another attempt has another fence.
  const crashedBuild = await builder.claim('build')
  const { admin } = server.database
  await admin.query(`update job set lease_until = now() - interval '1 second' where id = $1`, [
    crashedBuild.job,
  ])
  const scheduler = server.database.poolFor('cf_scheduler')
  await inTransaction(scheduler, { tenant }, (transaction) => expireLeases(transaction, 10))
  await admin.query('update job set not_before = now() where id = $1', [crashedBuild.job])
  const heldBuild = await builder.claim('build')

  const delivery = deliveryOf({ ...setUp, ...fleet }, push())
  await must(202, send(delivery))
  await builder.result(await builder.claim('resolve'), resolved('two', 'one'))
  const heldEvaluation = await builder.claim('evaluate')
  const cache = { objects, prefix: `${tenant}/`, cachedPath: upload }
  return { crashedBuild, heldBuild, heldEvaluation, finishedEvaluation, cache, delivery }
}

export type Upload = ReturnType<typeof uploadOf>

/** What a builder says about the output that it uploaded. */
function uploadOf({ out_path: path }: Pick<BuildPayload, 'out_path'>) {
  const fileHash = `sha256-${createHash('sha256').update(NAR).digest('base64')}`
  return {
    path,
    nar_hash: sri(path),
    nar_size: 1000,
    references: [] as string[],
    deriver: null,
    ca: null,
    url: `nar/${nix32OfHash(fileHash).slice('sha256:'.length)}.nar.zst`,
    compression: 'zstd',
    file_hash: fileHash,
    file_size: NAR.length,
  } as const
}

async function reportOnce({ authority, send }: SetUp, { hosts }: Fleet): Promise<RawRequest> {
  const request = signed({
    by: hosts.web.seed,
    authority,
    tag: 'crystal-forge-agent-v1',
    target: '/v1/agent/reports',
    body: stateReport('web-1', 'report-accepted-0001'),
  })
  await must(202, send(request))
  return request
}

/** A state report of a host. */
export function stateReport(hostname: string, reportId: string, changes: object = {}): object {
  return {
    v: 1,
    kind: 'state',
    report_id: reportId,
    hostname,
    collected_at: '2026-11-22T19:00:00Z',
    change_reason: 'startup',
    store_path: fakePath('nixos-system-web-1', 'outweb-1'),
    failed_units: [],
    ...changes,
  }
}

async function issueTokens({
  server,
  authority,
  send,
  operator,
  secrets,
}: SetUp): Promise<Pick<HostileWorld, 'tokens' | 'enrol'>> {
  const make = async (name: string, role: string): Promise<string> => {
    const { body } = await must(201, operator('POST', '/v1/tokens', { body: { name, role } }))
    return String(body['token'])
  }
  const [viewer, operatorToken, approver] = [
    await make('viewer', 'viewer'),
    await make('operator', 'operator'),
    await make('approver', 'approver'),
  ]
  const [revoked, expired] = [await make('revoked', 'admin'), await make('expired', 'admin')]
  const listed = await operator('GET', '/v1/tokens')
  const items = listed.body['items'] as { id: string; name: string }[]
  const id = items.find(({ name }) => name === 'revoked')?.id
  await must(200, operator('POST', `/v1/tokens/${id}/revoke`, { body: {} }))
  const makeEnrol = async (hostname: string): Promise<SecretSeed> => {
    const { body } = await must(201, operator('POST', '/v1/enroll-tokens', { body: { hostname } }))
    const text = String(body['token'])
    secrets.add(text)
    const seed = parseSeed(Buffer.from(text, 'base64url').toString('base64'))
    if (seed === null) throw new Error('an enrolment token is no seed')
    return seed
  }
  const enrol = {
    unused: await makeEnrol('*'),
    otherHost: await makeEnrol('other-1'),
    used: await makeEnrol('enrolled-1'),
    expired: await makeEnrol('late-1'),
    revoked: await makeEnrol('taken-back-1'),
  }
  const open = await operator('GET', '/v1/enroll-tokens?q=taken-back-1')
  const [takenBack] = open.body['items'] as { id: string }[]
  await must(200, operator('POST', `/v1/enroll-tokens/${takenBack?.id}/revoke`, { body: {} }))
  const fresh = makeIdentity('enrolled-1')
  const enrolment = { v: 1, hostname: fresh.name, public_key: fresh.publicKey }
  const how = {
    authority,
    tag: 'crystal-forge-agent-v1',
    target: '/v1/enroll',
    body: enrolment,
    fresh: fresh.seed,
  } as const
  await must(201, send(signedTwice(how, { boot: enrol.used })))
  const { admin } = server.database
  // Nobody can wait until a token expires.
  await admin.query(
    `update api_token set created_at = now() - interval '2 days', expires_at = now() - interval '1 day' where name = 'expired'`,
  )
  await admin.query(
    `update enroll_token set created_at = now() - interval '3 hours', expires_at = now() - interval '1 hour' where hostname_pattern = 'late-1'`,
  )
  const garbled = `cf_${'A'.repeat(43)}`
  return { tokens: { viewer, operator: operatorToken, approver, revoked, expired, garbled }, enrol }
}

async function systemIds(operator: HostileWorld['operator']): Promise<Record<string, string>> {
  const { body } = await must(200, operator('GET', '/v1/systems'))
  const items = body['items'] as { id: string; hostname: string }[]
  return Object.fromEntries(items.map(({ id, hostname }) => [hostname, id]))
}

/** Until every message has left the outbox, tables change by themselves. */
async function quiet({ database }: RunningServer): Promise<void> {
  for (let left = 1; left > 0; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const { rows } = await database.admin.query<{ left: number }>('select count(*)::int as left from outbox')
    left = rows[0]?.left ?? 0
  }
}

const NAR = Buffer.from('a compressed NAR')
const SECRET_HEADERS = new Set(['authorization', 'signature', 'x-hub-signature-256', 'x-signature'])
