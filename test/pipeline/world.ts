import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SealingKey, seal } from '@crystal-forge/control-plane'
import { app as builderJobs } from '@crystal-forge/functions/builder-jobs/app.ts'
import { readConfig as readBuilderJobs } from '@crystal-forge/functions/builder-jobs/config.ts'
import type { DatabaseConfig } from '@crystal-forge/functions/database.ts'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import type { Log } from '@crystal-forge/functions/log.ts'
import { app as webhooks } from '@crystal-forge/functions/webhooks/app.ts'
import { readDatabaseUrl } from '@crystal-forge/postgres'
import {
  type BuilderHello,
  buildStatementOf,
  type ClaimAnswer,
  generateKeyPair,
  type JobDocument,
  jobDocument,
  keyId,
  parseStrictJson,
  publicKeyOfSeed,
  renderSeed,
  type SecretSeed,
  signAttestation,
  signRequest,
  verifyJobDocument,
} from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2, Context } from 'aws-lambda'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'

export const AUTHORITY = 'api.cf.example.com'
export const LEASE_S = 60

export type Answer = { readonly status: number; readonly body: Record<string, unknown> }
export type TestBuilder = {
  readonly id: string
  readonly name: string
  readonly seed: SecretSeed
  readonly keyId: string
  /** Sends a signed request as this builder. `nonce` repeats one that was used. */
  send(handler: HttpHandler, route: string, body: unknown, options?: SendOptions): Promise<Answer>
  hello(changes?: Partial<BuilderHello>): Promise<Answer>
  claim(kinds: string[], named?: { job: string; attempt?: number }): Promise<Claimed | null>
  claimAnswer(kinds: string[], named?: { job: string; attempt?: number }): Promise<ClaimAnswer>
  heartbeat(job: Held, progress?: object): Promise<Answer>
  result(job: Held, result: object): Promise<Answer>
  evaluations(job: Held, evaluations: object[], evaluator?: string): Promise<Answer>
  /** The result of a build of a claimed `build` job, attested by this builder. */
  built(claimed: Claimed, changes?: BuiltChanges): object
}
export type SendOptions = { readonly nonce?: string; readonly parameters?: Record<string, string> }
export type Held = { readonly job: string; readonly fence: number }
export type Claimed = Held & { readonly attempt: number; readonly document: JobDocument }
export type BuiltChanges = {
  readonly outPath?: string
  readonly narHash?: string
  readonly closure?: string
  readonly signer?: SecretSeed
  readonly attestedNarHash?: string
  readonly attestedJob?: string
}

/** The handlers of the pipeline on a database of their own, called with the events that a gateway makes. */
export type World = {
  readonly database: TestDatabase
  readonly tenant: string
  /** As the role of relay and sweep. */
  readonly scheduler: TestDatabase['admin']
  readonly jobs: HttpHandler
  readonly hooks: HttpHandler
  readonly signingKey: SecretSeed
  readonly logged: { level: string; message: string }[]
  addBuilder(name: string): Promise<TestBuilder>
  addFlake(name: string, changes?: { branch?: string; depth?: number; source?: object }): Promise<string>
  addHook(flake: string, provider: string, secret: string, previous?: string): Promise<string>
  /** A host that follows a configuration. */
  addSystem(hostname: string, flake: string, configuration: string): Promise<void>
  /** Rows as the superuser sees them. */
  rows(sql: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  queue(kind: string, subject: string, notes?: object): Promise<string>
  databaseConfig(role: string): DatabaseConfig
  close(): Promise<void>
}

/** Where functions that a test brings itself find their database and their keys. */
export type Place = {
  readonly database: TestDatabase
  readonly jobKeyFile: string
  readonly sealingKeyFile: string
}
type Running = { readonly handler: HttpHandler; close(): Promise<void> }
/** Runs `builder-jobs` and `webhooks` in some other way than in this process. */
export type Elsewhere = (place: Place) => Promise<{ readonly jobs: Running; readonly hooks: Running }>

export async function createWorld(elsewhere?: Elsewhere): Promise<World> {
  const database = await createTestDatabase()
  const directory = await mkdtemp(join(tmpdir(), 'cf-pipeline-'))
  const signingKey = generateKeyPair().seed
  const sealingKey = new SealingKey(randomBytes(32))
  await writeFile(join(directory, 'job.key'), renderSeed(signingKey))
  await writeFile(join(directory, 'seal.key'), Buffer.from(SealingKey.bytes(sealingKey)).toString('base64'))
  const logged: { level: string; message: string }[] = []
  const log: Log = (level, message, fields = {}) => {
    const { error } = fields
    logged.push({ level, message: error instanceof Error ? `${message}: ${error.message}` : message })
    if (level === 'error') process.stderr.write(`${message}: ${error instanceof Error ? error.stack : ''}\n`)
  }
  const databaseConfig = (role: string): DatabaseConfig => {
    const target = readDatabaseUrl(database.urlFor(role))
    return {
      host: target.host,
      port: target.port,
      database: target.database,
      user: role,
      login: undefined,
      auth: 'trust',
      region: undefined,
      passwordFile: undefined,
      caFile: undefined,
      connectionsMax: 8,
      behindProxy: false,
    }
  }
  const inThisProcess = (): { jobs: Running; hooks: Running } => {
    const jobsConfig = readBuilderJobs({
      DATABASE_HOST: '127.0.0.1',
      DATABASE_NAME: 'set below',
      DATABASE_USER: 'cf_builders',
      DATABASE_AUTH: 'trust',
      PUBLIC_AUTHORITY: AUTHORITY,
      QUEUE_URL_RESOLVE: 'http://127.0.0.1/resolve',
      QUEUE_URL_EVALUATE: 'http://127.0.0.1/evaluate',
      QUEUE_URL_BUILD: 'http://127.0.0.1/build',
      QUEUE_URL_SCAN: 'http://127.0.0.1/scan',
      CACHE_BUCKET: 'cache',
      AWS_REGION: 'eu-test-1',
      LEASE_S: String(LEASE_S),
      JOB_SIGNING_KEY_FILE: join(directory, 'job.key'),
    })
    const jobs = builderJobs({ ...jobsConfig, database: databaseConfig('cf_builders') }, { log })
    const hooks = webhooks(
      {
        database: databaseConfig('cf_hooks'),
        sealingKey: { kind: 'file', variable: 'SEALING_KEY_FILE', path: join(directory, 'seal.key') },
        relayQueue: undefined,
      },
      { log },
    )
    return { jobs, hooks }
  }
  const place = {
    database,
    jobKeyFile: join(directory, 'job.key'),
    sealingKeyFile: join(directory, 'seal.key'),
  }
  const { jobs, hooks } = elsewhere === undefined ? inThisProcess() : await elsewhere(place)
  const rows = async (sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
    (await database.admin.query<Record<string, unknown>>(sql, values)).rows
  const one = async (sql: string, values: unknown[] = []): Promise<string> =>
    String((await rows(sql, values))[0]?.['id'])
  const tenant = await one(`insert into tenant (name) values ('acme') returning id`)
  return {
    database,
    tenant,
    scheduler: database.poolFor('cf_scheduler'),
    jobs: jobs.handler,
    hooks: hooks.handler,
    signingKey,
    logged,
    rows,
    databaseConfig,
    addBuilder: async (name) => {
      const { seed, publicKey } = generateKeyPair()
      const id = await one('insert into builder (tenant_id, name) values ($1, $2) returning id', [
        tenant,
        name,
      ])
      await rows(
        'insert into builder_key (key_id, tenant_id, builder_id, public_key) values ($1, $2, $3, $4)',
        [keyId(publicKey), tenant, id, Buffer.from(publicKey)],
      )
      const builder = testBuilder({ id, name, seed, jobs: jobs.handler, signingKey })
      await builder.hello()
      return builder
    },
    addFlake: (name, changes = {}) =>
      one(
        `insert into flake (tenant_id, name, repository_url, source, branch, initial_commit_depth)
         values ($1, $2, 'https://git.example.com/acme/' || $2, $3, $4, $5) returning id`,
        [tenant, name, changes.source ?? SOURCE, changes.branch ?? 'main', changes.depth ?? 5],
      ),
    addHook: async (flake, provider, secret, previous) => {
      const id = `hook_${randomUUID().replaceAll('-', '')}`
      const sealed = (text: string): Buffer => seal(Buffer.from(text), id, sealingKey)
      await rows(
        `insert into hook (id, tenant_id, flake_id, provider, secret_sealed, previous_secret_sealed) values ($1, $2, $3, $4, $5, $6)`,
        [id, tenant, flake, provider, sealed(secret), previous === undefined ? null : sealed(previous)],
      )
      return id
    },
    addSystem: async (hostname, flake, configuration) => {
      await rows(
        `with c as (insert into configuration (tenant_id, flake_id, name) values ($1, $2, $3)
           on conflict (flake_id, name) do update set name = excluded.name returning id)
         insert into system (tenant_id, hostname, flake_id, configuration_id) select $1, $4, $2, id from c`,
        [tenant, flake, configuration, hostname],
      )
    },
    queue: async (kind, subject, notes = {}) => {
      const [, result] = (await database.admin.query(
        `select set_config('cf.tenant', '${tenant}', false);
         select job_id as id from enqueue_job('${kind}', '${subject}', '${JSON.stringify(notes)}', 0)`,
      )) as unknown as { rows: { id: string }[] }[]
      return String(result?.rows[0]?.id)
    },
    close: async () => {
      await Promise.all([jobs.close(), hooks.close()])
      await database.drop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export const SOURCE = {
  kind: 'forge',
  via: 'https',
  host: 'git.example.com',
  owner: 'acme',
  repo: 'fleet',
} as const

function testBuilder(context: {
  id: string
  name: string
  seed: SecretSeed
  jobs: HttpHandler
  signingKey: SecretSeed
}): TestBuilder {
  const { id, name, seed, jobs, signingKey } = context
  const ownKeyId = keyId(publicKeyOfSeed(seed))
  const send: TestBuilder['send'] = (handler, route, body, options = {}) =>
    signedCall(handler, { route, body, seed, ...options })
  const claimAnswer: TestBuilder['claimAnswer'] = async (kinds, named = undefined) => {
    const { status, body } = await send(jobs, 'POST /v1/builder/claims', { v: 1, kinds, ...named })
    if (status !== 200) throw new Error(`claim: ${status} ${JSON.stringify(body)}`)
    return body as unknown as ClaimAnswer
  }
  const onJob = (job: Held, what: string, body: object): Promise<Answer> =>
    send(
      jobs,
      `POST /v1/builder/jobs/{job}/${what}`,
      { v: 1, fence: job.fence, ...body },
      { parameters: { job: job.job } },
    )
  return {
    id,
    name,
    seed,
    keyId: ownKeyId,
    send,
    claimAnswer,
    hello: (changes = {}) =>
      send(jobs, 'POST /v1/builder/hello', {
        v: 1,
        nix_version: '2.34.8',
        systems: ['x86_64-linux'],
        scanner: null,
        isolation: 'none',
        ...changes,
      }),
    claim: async (kinds, named) => {
      const answer = await claimAnswer(kinds, named)
      if (!answer.claimed) return null
      const trusted = { keyId: '', publicKey: publicKeyOfSeed(signingKey), role: 'x', person: 'x' }
      const verified = verifyJobDocument(answer.document, [{ ...trusted, keyId: keyId(trusted.publicKey) }])
      if (!verified.ok) throw new Error(`job document: ${verified.code}`)
      const document = jobDocument.parse(parseStrictJson(verified.payload))
      return { job: answer.job, fence: answer.fence, attempt: answer.attempt, document }
    },
    heartbeat: (job, progress) => onJob(job, 'heartbeat', progress === undefined ? {} : { progress }),
    result: (job, result) => onJob(job, 'result', { result }),
    evaluations: (job, evaluations, evaluator = '2.34.8') =>
      onJob(job, 'evaluations', { evaluator, evaluations }),
    built: (claimed, changes = {}) => builtResult(claimed, changes, seed),
  }
}

function builtResult(claimed: Claimed, changes: BuiltChanges, seed: SecretSeed): object {
  const { work } = claimed.document
  if (work.kind !== 'build') throw new Error(`a ${work.kind} job has no build`)
  const outPath = changes.outPath ?? work.out_path
  const narHash = changes.narHash ?? sri(work.out_path)
  const closure = changes.closure ?? createHash('sha256').update(`closure of ${outPath}`).digest('hex')
  const statement = buildStatementOf({
    repository: 'https://git.example.com/acme/fleet',
    revision: work.rev,
    attribute: work.configuration,
    drvPath: work.drv_path,
    outputs: [{ path: outPath, narHash: changes.attestedNarHash ?? narHash }],
    closureSha256: closure,
    builderKeyId: keyId(publicKeyOfSeed(seed)),
    nixVersion: '2.34.8',
    jobId: changes.attestedJob ?? claimed.job,
    startedAt: new Date('2026-11-22T19:00:00Z'),
    finishedAt: new Date('2026-11-22T19:01:00Z'),
  })
  return {
    outcome: 'succeeded',
    succeeded: {
      kind: 'build',
      out_path: outPath,
      nar_hash: narHash,
      nar_size: 1000,
      closure: { count: 1, nar_size: 1000, sha256: closure },
      pushed: { paths: 1, bytes: 500 },
      isolation: 'none',
      duration_ms: 1000,
      attestation: signAttestation(statement, changes.signer ?? seed),
    },
  }
}

/** A store path whose hash part is made from its name and a salt. */
export function fakePath(name: string, salt = ''): string {
  const digits = createHash('sha256').update(`${name}/${salt}`).digest()
  const alphabet = '0123456789abcdfghijklmnpqrsvwxyz'
  const hash = Array.from({ length: 32 }, (_, index) => alphabet[(digits[index] ?? 0) % 32]).join('')
  return `/nix/store/${hash}-${name}`
}

/** The SRI hash of a text. */
export function sri(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

/** A git revision made from a word. */
export function rev(word: string): string {
  return createHash('sha1').update(word).digest('hex')
}

/** One evaluated configuration, as a builder reports it. */
export function evaluatedOk(configuration: string, salt = ''): Record<string, unknown> {
  return {
    state: 'ok',
    configuration,
    drv_path: `${fakePath(`nixos-system-${configuration}`, `drv${salt}`)}.drv`,
    out_path: fakePath(`nixos-system-${configuration}`, `out${salt}`),
    system: 'x86_64-linux',
    agent_assertion: true,
    export_key: null,
    duration_ms: 10,
  }
}

async function signedCall(
  handler: HttpHandler,
  request: {
    readonly route: string
    readonly body: unknown
    readonly seed: SecretSeed
    readonly nonce?: string
    readonly parameters?: Record<string, string>
  },
): Promise<Answer> {
  const [method = '', pattern = ''] = request.route.split(' ')
  const path = pattern.replace(/\{(\w+)\}/g, (_, name: string) => request.parameters?.[name] ?? '')
  const body = Buffer.from(JSON.stringify(request.body))
  const headers = signRequest({
    method,
    authority: AUTHORITY,
    target: path,
    body,
    tag: 'crystal-forge-builder-v1',
    now: new Date(),
    seed: request.seed,
    nonce: request.nonce ?? randomBytes(18).toString('base64url'),
  })
  return call(handler, {
    route: request.route,
    path,
    body,
    headers: { host: AUTHORITY, ...headers },
    parameters: request.parameters ?? {},
  })
}

/** One event of payload 2.0 and its answer, parsed. */
export async function call(
  handler: HttpHandler,
  request: {
    readonly route: string
    readonly path: string
    readonly body: Buffer
    readonly headers: Record<string, string>
    readonly parameters: Record<string, string>
  },
): Promise<Answer> {
  const event: APIGatewayProxyEventV2 = {
    version: '2.0',
    routeKey: request.route,
    rawPath: request.path,
    rawQueryString: '',
    headers: request.headers,
    pathParameters: request.parameters,
    requestContext: {
      accountId: '',
      apiId: '',
      domainName: AUTHORITY,
      domainPrefix: '',
      http: {
        method: request.route.split(' ')[0] ?? '',
        path: request.path,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: '',
      },
      requestId: randomUUID(),
      routeKey: request.route,
      stage: '$default',
      time: '',
      timeEpoch: 0,
    },
    body: request.body.toString('base64'),
    isBase64Encoded: true,
  }
  const answer = await handler(event, CONTEXT)
  const parsed: Record<string, unknown> = answer.body ? JSON.parse(answer.body) : {}
  return { status: answer.statusCode ?? 0, body: parsed }
}

// The handlers read nothing of it.
const CONTEXT = {} as Context
