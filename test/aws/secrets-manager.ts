import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'
import * as z from 'zod'

/** Who may do what: the access key id of a caller, and the ARNs that it may use an action on. */
export type SecretsPolicy = (caller: string, action: string, arn: string) => boolean

export type FakeSecretsManager = {
  readonly endpoint: string
  /** Actions that were asked for and allowed, in order, as `caller Action`. */
  readonly calls: readonly string[]
  /** Who may do what from now on. Everybody may do everything at first. */
  allow(policy: SecretsPolicy): void
  close(): Promise<void>
}

/**
 * Secrets Manager as far as this product uses it, where the embedded emulator has none: versions with stages, a version
 * that is taken once, and a refusal for who may not. The other targets bring their own, and the same tests run on them.
 */
export async function startSecretsManager(): Promise<FakeSecretsManager> {
  const secrets = new Map<string, Secret>()
  const calls: string[] = []
  let policy: SecretsPolicy = () => true
  const server = createServer(async (request, response) => {
    const action = String(request.headers['x-amz-target']).replace(/^secretsmanager\./, '')
    const answer = await answerTo(request, { action, secrets, calls, policy })
    response.writeHead('__type' in answer ? 400 : 200, { 'content-type': 'application/x-amz-json-1.1' })
    response.end(JSON.stringify(answer))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the system named no port')
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    calls,
    allow: (next) => {
      policy = next
    },
    close: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

type Secret = { readonly arn: string; readonly versions: Map<string, { value: string; stages: string[] }> }
type Asked = {
  readonly action: string
  readonly secrets: Map<string, Secret>
  readonly calls: string[]
  readonly policy: SecretsPolicy
}

async function answerTo(request: IncomingMessage, asked: Asked): Promise<object> {
  const input = body.parse(await json(request))
  const caller = /Credential=([^/]+)\//.exec(request.headers.authorization ?? '')?.[1] ?? ''
  if (asked.action === 'CreateSecret') return create(asked.secrets, input)
  const secret = asked.secrets.get(input.SecretId ?? '')
  if (secret === undefined)
    return refusal('ResourceNotFoundException', "Secrets Manager can't find the specified secret.")
  if (!asked.policy(caller, asked.action, secret.arn))
    return refusal('AccessDeniedException', `${caller} is not authorized to perform ${asked.action}`)
  asked.calls.push(`${caller} ${asked.action}`)
  if (asked.action === 'DescribeSecret') return describe(secret)
  if (asked.action === 'GetSecretValue') return get(secret)
  if (asked.action === 'PutSecretValue') return put(secret, input)
  if (asked.action === 'DeleteSecret') return { ARN: secret.arn, deleted: asked.secrets.delete(secret.arn) }
  return refusal('UnknownOperationException', asked.action)
}

const body = z.object({
  Name: z.string().optional(),
  SecretId: z.string().optional(),
  SecretString: z.string().optional(),
  ClientRequestToken: z.string().min(32).max(64).optional(),
})
type Input = z.infer<typeof body>

function create(secrets: Map<string, Secret>, { Name = '', ...value }: Input): object {
  const arn = `arn:aws:secretsmanager:us-east-1:000000000000:secret:${Name}-${randomBytes(3).toString('hex')}`
  const secret = { arn, versions: new Map() }
  secrets.set(arn, secret)
  if (value.SecretString !== undefined) put(secret, value)
  return { ARN: arn, Name }
}

/** A secret that never had a value has no versions, and says so by leaving the member out. */
function describe({ arn, versions }: Secret): object {
  const stages = Object.fromEntries([...versions].map(([id, version]) => [id, version.stages]))
  return { ARN: arn, ...(versions.size === 0 ? {} : { VersionIdsToStages: stages }) }
}

function get({ arn, versions }: Secret): object {
  const current = [...versions].find(([, { stages }]) => stages.includes('AWSCURRENT'))
  if (current === undefined)
    return refusal(
      'ResourceNotFoundException',
      "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
    )
  const [VersionId, { value, stages }] = current
  return { ARN: arn, VersionId, SecretString: value, VersionStages: stages }
}

function put({ arn, versions }: Secret, { ClientRequestToken, SecretString = '' }: Input): object {
  const VersionId = ClientRequestToken ?? randomBytes(16).toString('hex')
  const there = versions.get(VersionId)
  if (there !== undefined && there.value !== SecretString)
    return refusal('ResourceExistsException', 'A resource with the ID you requested already exists.')
  if (there === undefined) {
    for (const version of versions.values())
      version.stages = version.stages.includes('AWSCURRENT') ? ['AWSPREVIOUS'] : []
    versions.set(VersionId, { value: SecretString, stages: ['AWSCURRENT'] })
  }
  return { ARN: arn, VersionId, VersionStages: versions.get(VersionId)?.stages }
}

function refusal(type: string, message: string): object {
  return { __type: type, Message: message, message }
}
