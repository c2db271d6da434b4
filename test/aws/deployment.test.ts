import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GetSecretValueCommand } from '@aws-sdk/client-secrets-manager'
import { SealingKey } from '@crystal-forge/control-plane'
import { connect, type Pool } from '@crystal-forge/postgres'
import {
  parseCacheSecretKey,
  parseSeed,
  publicKeyOfSeed,
  renderCachePublicKey,
  renderPublicKey,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type OwnPostgres, startOwnPostgres } from '../postgres/own-postgres.ts'
import { needs } from './capabilities.ts'
import { getEvent } from './functions.ts'
import { buildBundles, type Instance, startInstance } from './lambda.ts'
import { openTarget, type Target } from './target.ts'

// What runs while a stack is deployed. The trigger of CDK invokes both functions without a payload, once for each change
// of their code; whoever repeats a deployment, or starts two, invokes them again.
const NO_PAYLOAD = {}

let directory: string
let target: Target
let bundles: Awaited<ReturnType<typeof buildBundles>>
let postgres: OwnPostgres
const running: Instance[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-deployment-'))
  target = await openTarget()
  bundles = await buildBundles()
  postgres = await startOwnPostgres({ passwords: true })
}, 120_000)
afterAll(async () => {
  await Promise.all(running.map((one) => one.stop()))
  await postgres?.close()
  await bundles?.remove()
  await target?.close()
  await rm(directory, { recursive: true, force: true })
})
beforeEach((context) => needs(context, target, 'secrets', 'emptySecrets'))

async function start(name: string, environment: Record<string, string>): Promise<Instance> {
  const instance = await startInstance(bundles.file(name), { ...target.environment, ...environment })
  running.push(instance)
  return instance
}

/** The same function as the fake knows it by its credentials, so that it may do what its policy lists and no more. */
function as(name: string): Record<string, string> {
  return target.fakeSecrets === undefined ? {} : { AWS_ACCESS_KEY_ID: name }
}

async function secretText(arn: string): Promise<string> {
  const { SecretString = '' } = await target.secrets.send(new GetSecretValueCommand({ SecretId: arn }))
  return SecretString
}

describe('first-secrets', () => {
  let arns: { sealing: string; job: string; narinfo: string; exports: string }
  let environment: Record<string, string>
  beforeEach(async () => {
    const [sealing = '', job = '', narinfo = '', exports = ''] = await Promise.all(
      [1, 2, 3, 4].map(() => target.make.secret()),
    )
    arns = { sealing, job, narinfo, exports }
    environment = {
      ...as('first-secrets'),
      SEALING_KEY_SECRET_ARN: arns.sealing,
      JOB_SIGNING_KEY_SECRET_ARN: arns.job,
      NARINFO_KEY_SECRET_ARN: arns.narinfo,
      EXPORT_SIGNING_KEY_SECRET_ARN: arns.exports,
      CACHE_KEY_NAME: 'cache.example.com-1',
    }
    target.fakeSecrets?.allow(
      (caller, action) => caller !== 'first-secrets' || ['DescribeSecret', 'PutSecretValue'].includes(action),
    )
  })

  test('fills each secret once, also when three start at once, and logs the public half of what is stored', async (context) => {
    needs(context, target, 'secretVersionsOnce')
    const three = await Promise.all([1, 2, 3].map(() => start('first-secrets', environment)))
    const done = (await Promise.all(three.map((one) => one.invoke(NO_PAYLOAD)))) as { filled: number }[]
    expect(done.reduce((sum, { filled }) => sum + filled, 0)).toBe(4)
    const values = await Promise.all(Object.values(arns).map(secretText))

    const job = parseSeed(await secretText(arns.job))
    const narinfo = parseCacheSecretKey(await secretText(arns.narinfo))
    if (job === null || narinfo === null) throw new Error('a secret holds no key')
    const log = three.map((one) => one.log()).join('')
    const said = (member: string): unknown[] =>
      log.split('\n').flatMap((line) => (line.includes(member) ? [JSON.parse(line)[member]] : []))
    await vi.waitFor(() => expect(said('job_public_key')).toEqual([renderPublicKey(publicKeyOfSeed(job))]))
    expect(said('cache_public_key')).toEqual([renderCachePublicKey(narinfo)])
    for (const value of values) expect(log).not.toContain(value)

    expect(await three[0]?.invoke(NO_PAYLOAD)).toEqual({ filled: 0 })
    const again = await start('first-secrets', environment)
    expect(await again.invoke(NO_PAYLOAD)).toEqual({ filled: 0 })
    expect(await Promise.all(Object.values(arns).map(secretText))).toEqual(values)
  })

  test('makes what the functions that need a secret start with', async () => {
    const first = await start('first-secrets', environment)
    await first.invoke(NO_PAYLOAD)
    const database = { DATABASE_HOST: 'localhost', DATABASE_NAME: 'x', DATABASE_CA_FILE: postgres.caFile }
    const queues = Object.fromEntries(
      ['RESOLVE', 'EVALUATE', 'BUILD', 'SCAN'].map((kind) => [`QUEUE_URL_${kind}`, 'http://127.0.0.1/q']),
    )
    const cases = [
      ['webhooks', 'cf_hooks', { SEALING_KEY_SECRET_ARN: arns.sealing }],
      ['builder-jobs', 'cf_builders', { JOB_SIGNING_KEY_SECRET_ARN: arns.job }],
      ['controls-api', 'cf_controls', { EXPORT_SIGNING_KEY_SECRET_ARN: arns.exports }],
      ['builder-cache', 'cf_cache', { NARINFO_KEY_SECRET_ARN: arns.narinfo }],
    ] as const
    for (const [name, role, secret] of cases) {
      const shared = { PUBLIC_AUTHORITY: 'api.cf.example.com', CACHE_BUCKET: 'x', ...queues, ...as(name) }
      const variables = { ...shared, ...database, DATABASE_USER: role }
      await expect(start(name, { ...variables, ...secret })).resolves.toBeDefined()
      const [variable = ''] = Object.keys(secret)
      const empty = await target.make.secret()
      await expect(start(name, { ...variables, [variable]: empty })).rejects.toThrow(empty)
    }
  })
})

/** An empty database and the secrets of its deployment. */
type Installation = {
  readonly database: Pool
  readonly environment: Record<string, string>
  readonly tokenArn: string
}

/** What migrations may fill; the rest they may only read. */
const tokens = new Set<string>()

async function installation(name: string): Promise<Installation> {
  await postgres.admin.query(`create database ${name} owner master`)
  const { host, port, user } = postgres
  const database = connect({ host, port, user, database: name, password: 'root-password', max: 1 })
  const master = { username: 'master', password: 'master-password', engine: 'postgres' }
  const masterArn = await target.make.secret(JSON.stringify(master))
  const tokenArn = await target.make.secret()
  const environment = {
    ...as('migrations'),
    DATABASE_HOST: 'localhost',
    DATABASE_PORT: String(port),
    DATABASE_NAME: name,
    DATABASE_CA_FILE: postgres.caFile,
    DATABASE_MASTER_SECRET_ARN: masterArn,
    ADMIN_TOKEN_SECRET_ARN: tokenArn,
    TENANT_NAME: 'acme',
  }
  tokens.add(tokenArn)
  target.fakeSecrets?.allow(
    (caller, action, arn) => caller !== 'migrations' || action === 'GetSecretValue' || tokens.has(arn),
  )
  return { database, environment, tokenArn }
}

type Prepared = { readonly applied: number; readonly views: number }

describe('migrations', () => {
  let first: Installation
  const opened: Pool[] = []
  const install = async (name: string): Promise<Installation> => {
    const made = await installation(name)
    opened.push(made.database)
    return made
  }
  beforeAll(async () => {
    if (!target.can.secrets) return
    // As RDS makes it: an owner who may make roles and is no superuser, with a password that lies in a secret.
    await postgres.admin.query(`create role master login nosuperuser createrole password 'master-password'`)
    first = await install('first')
  })
  afterAll(() => Promise.all(opened.map((one) => one.end())))

  const rows = async (sql: string, of = first): Promise<unknown[]> => (await of.database.query(sql)).rows

  async function expectOneOfEach(of: Installation): Promise<void> {
    const sha256 = createHash('sha256')
      .update(await secretText(of.tokenArn))
      .digest('hex')
    expect(await rows('select name, role, token_sha256 from api_token', of)).toEqual([
      { name: 'first admin token', role: 'admin', token_sha256: sha256 },
    ])
    expect(await rows('select name from tenant', of)).toEqual([{ name: 'acme' }])
    expect(await rows('select type from audit_event', of)).toEqual([{ type: 'token.created' }])
  }

  test('over a connection that nobody vouches for do nothing, and the deployment is told why', async () => {
    const other = await startOwnPostgres()
    try {
      const instance = await start('migrations', { ...first.environment, DATABASE_CA_FILE: other.caFile })
      await expect(instance.invoke(NO_PAYLOAD)).rejects.toThrow(/certificate/)
    } finally {
      await other.close()
    }
    expect(await rows(`select to_regclass('tenant') as found`)).toEqual([{ found: null }])
  })

  test('make the schema of an empty database, a tenant and its token, over TLS', async () => {
    const instance = await start('migrations', first.environment)
    const { applied, views } = (await instance.invoke(NO_PAYLOAD)) as Prepared
    expect(Math.min(applied, views)).toBeGreaterThan(0)
    await expectOneOfEach(first)
    const sessions = `select distinct ssl, usename from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'migrations'`
    expect(await rows(sessions)).toEqual([{ ssl: true, usename: 'master' }])
  })

  test('three at once make one schema, one tenant and one token', async (context) => {
    needs(context, target, 'secretVersionsOnce')
    const second = await install('second')
    const three = await Promise.all([1, 2, 3].map(() => start('migrations', second.environment)))
    const done = (await Promise.all(three.map((one) => one.invoke(NO_PAYLOAD)))) as Prepared[]
    expect(done.filter(({ applied }) => applied > 0)).toHaveLength(1)
    expect(done.filter(({ views }) => views > 0)).toHaveLength(1)
    await expectOneOfEach(second)
  })

  test('the next deployment, by a warm instance or a new one, finds everything done', async () => {
    const instance = await start('migrations', first.environment)
    const before = await rows('select name, applied_at from schema_migration order by name')
    for (let time = 0; time < 2; time++)
      expect(await instance.invoke(NO_PAYLOAD)).toEqual({ applied: 0, views: 0 })
    expect(await rows('select name, applied_at from schema_migration order by name')).toEqual(before)
    expect(await rows('select count(*) from api_token')).toEqual([{ count: 1 }])
  })

  test('the token in the secret is the first operator’s, at the function that is deployed next', async () => {
    const passwordFile = join(directory, 'operators-password')
    await writeFile(passwordFile, 'operators-password')
    await writeFile(join(directory, 'seal.key'), sealingKeyText())
    await postgres.admin.query(`alter role cf_operators password 'operators-password'`)
    const instance = await start('operator-api', {
      DATABASE_HOST: 'localhost',
      DATABASE_PORT: String(postgres.port),
      DATABASE_NAME: 'first',
      DATABASE_USER: 'cf_operators',
      DATABASE_AUTH: 'password-file',
      DATABASE_PASSWORD_FILE: passwordFile,
      DATABASE_CA_FILE: postgres.caFile,
      SEALING_KEY_FILE: join(directory, 'seal.key'),
    })
    const list = async (authorization: string): Promise<number> => {
      const answer = await instance.invoke(getEvent('/v1/tokens', { authorization }))
      return (answer as { statusCode: number }).statusCode
    }
    expect(await list(`Bearer ${await secretText(first.tokenArn)}`)).toBe(200)
    expect(await list(`Bearer cf_${randomBytes(32).toString('base64url')}`)).toBe(401)
  })

  test('without their secret name the one that is missing', async () => {
    const empty = await target.make.secret()
    await expect(
      start('migrations', { ...first.environment, DATABASE_MASTER_SECRET_ARN: empty }),
    ).rejects.toThrow(empty)
  })
})

function sealingKeyText(): string {
  return Buffer.from(SealingKey.bytes(new SealingKey(randomBytes(32)))).toString('base64')
}
