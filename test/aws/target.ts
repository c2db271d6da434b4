import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { type AwsClients, type AwsSettings, awsClients, callerAccount } from '@crystal-forge/aws'
import { startEmbeddedAws } from '../../server/src/embedded-aws.ts'
import { type Capabilities, probe } from './capabilities.ts'
import { type Naming, naming } from './naming.ts'
import { type FakeSecretsManager, startSecretsManager } from './secrets-manager.ts'

/** What the suite runs against: the embedded emulator, something behind an address, or an account. */
export type Target = {
  readonly kind: 'embedded' | 'endpoint' | 'real'
  readonly name: string
  readonly settings: AwsSettings
  readonly clients: AwsClients
  readonly secrets: SecretsManagerClient
  /** Stands in for Secrets Manager where the emulator has none; it can be told who may do what. */
  readonly fakeSecrets: FakeSecretsManager | undefined
  /** The address of S3 and SQS; undefined in a real account. */
  readonly endpoint: string | undefined
  /** What a function has to find in its environment to reach the same services. */
  readonly environment: Readonly<Record<string, string>>
  /** Makes queues, buckets and secrets that `close` removes. */
  readonly make: Naming
  readonly can: Capabilities
  /** Removes everything that was made, whatever became of the tests. */
  close(): Promise<void>
}

/**
 * `AWS_ENDPOINT_URL` names a stand-in; `CF_AWS=real` means an account, which `CF_AWS_ACCOUNT` has to list; otherwise
 * the embedded emulator is started.
 * @throws {Error} when a real account was not allowed.
 */
export async function openTarget(environment: NodeJS.ProcessEnv = process.env): Promise<Target> {
  const { CF_AWS: mode, AWS_ENDPOINT_URL: endpoint } = environment
  const region = environment['AWS_REGION'] ?? 'us-east-1'
  if (mode !== undefined && mode !== 'real')
    throw new Error(`CF_AWS is ${JSON.stringify(mode)}; the only value is "real"`)
  if (mode === 'real' && endpoint !== undefined)
    throw new Error('CF_AWS=real and AWS_ENDPOINT_URL contradict each other; unset one')
  if (mode === 'real') return real(environment, region)
  return endpoint === undefined ? embedded(region) : behind(endpoint, region)
}

async function embedded(region: string): Promise<Target> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-aws-suite-'))
  const aws = await startEmbeddedAws({ dataDir: join(directory, 'aws'), ephemeral: true })
  const fakeSecrets = await startSecretsManager()
  const stop = async (): Promise<void> => {
    await Promise.all([aws.close(), fakeSecrets.close()])
    await rm(directory, { recursive: true, force: true })
  }
  const name = 'embedded emulator'
  return target({ kind: 'embedded', name, region, endpoint: aws.endpoint, fakeSecrets, stop })
}

function behind(endpoint: string, region: string): Promise<Target> {
  return target({ kind: 'endpoint', name: endpoint, region, endpoint, stop: async () => {} })
}

async function real(environment: NodeJS.ProcessEnv, region: string): Promise<Target> {
  const allowed = (environment['CF_AWS_ACCOUNT'] ?? '').split(',').filter((one) => one !== '')
  if (allowed.length === 0)
    throw new Error('CF_AWS=real also needs CF_AWS_ACCOUNT, the accounts (comma) that tests may use')
  const account = await callerAccount({ region })
  if (!allowed.includes(account))
    throw new Error(`these credentials belong to account ${account}, which CF_AWS_ACCOUNT does not list`)
  return target({
    kind: 'real',
    name: `account ${account} in ${region}`,
    region,
    endpoint: undefined,
    stop: async () => {},
  })
}

async function target(
  parts: Pick<Target, 'kind' | 'name' | 'endpoint'> & {
    readonly region: string
    readonly fakeSecrets?: FakeSecretsManager
    stop(): Promise<void>
  },
): Promise<Target> {
  const { kind, name, endpoint, region, fakeSecrets, stop } = parts
  const settings: AwsSettings =
    endpoint === undefined ? { region } : { region, endpoint: { sqs: endpoint, s3: endpoint } }
  const clients = awsClients(settings)
  const secretsEndpoint = fakeSecrets?.endpoint ?? endpoint
  const secrets = new SecretsManagerClient({
    region,
    ...(secretsEndpoint === undefined ? {} : { endpoint: secretsEndpoint, credentials: TEST_CREDENTIALS }),
  })
  const make = naming({ ...clients, secrets }, region)
  const close = async (): Promise<void> => {
    try {
      await make.removeAll()
    } finally {
      clients.sqs.destroy()
      clients.s3.destroy()
      secrets.destroy()
      await stop()
    }
  }
  try {
    const can = await probe({ clients, secrets, make, endpoint })
    const environment = {
      AWS_REGION: region,
      ...(endpoint === undefined ? credentialVariables() : testVariables(endpoint, secretsEndpoint)),
    }
    return { kind, name, endpoint, settings, clients, secrets, fakeSecrets, environment, make, can, close }
  } catch (error) {
    await close()
    throw error
  }
}

function testVariables(endpoint: string, secrets: string | undefined): Record<string, string> {
  return {
    AWS_ENDPOINT_URL: endpoint,
    ...(secrets === undefined ? {} : { AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets }),
    AWS_ACCESS_KEY_ID: TEST_CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: TEST_CREDENTIALS.secretAccessKey,
  }
}

const TEST_CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' }

/** Lambda gives a function its credentials by these; here they are those of whoever runs the tests. */
function credentialVariables(): Record<string, string> {
  const names = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE', 'HOME']
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
}
