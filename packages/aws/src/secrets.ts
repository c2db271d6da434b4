import { createHash } from 'node:crypto'
import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  ResourceExistsException,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager'
import type { AwsSettings } from './settings.ts'

/** Secrets of Secrets Manager, each named by its ARN. A value never appears in an error. */
export type Secrets = {
  /** The current value. @throws {Error} naming the secret when it cannot be read or holds no text. */
  read(arn: string): Promise<string>
  /**
   * Gives a secret its first value; one that ever had a value keeps it. Reads only the list of versions, so that whoever
   * fills a secret need not be able to read it. Of several that start at once one fills it, and for the others it is kept.
   */
  fillOnce(arn: string, make: () => string): Promise<'filled' | 'kept'>
  close(): void
}

export function secretsManager(settings: Pick<AwsSettings, 'region' | 'credentials'>): Secrets {
  const client = new SecretsManagerClient({
    region: settings.region,
    maxAttempts: ATTEMPTS_MAX,
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: REQUEST_MS },
    ...(settings.credentials === undefined ? {} : { credentials: settings.credentials }),
  })
  return {
    read: (arn) => read(client, arn),
    fillOnce: (arn, make) => fillOnce(client, arn, make),
    close: () => client.destroy(),
  }
}

async function read(client: SecretsManagerClient, arn: string): Promise<string> {
  const { SecretString } = await client
    .send(new GetSecretValueCommand({ SecretId: arn }))
    .catch((cause: unknown) => {
      throw new Error(`couldn't read the secret ${arn}`, { cause })
    })
  if (SecretString === undefined) throw new Error(`the secret ${arn} holds bytes; it has to hold text`)
  return SecretString
}

async function fillOnce(
  client: SecretsManagerClient,
  arn: string,
  make: () => string,
): Promise<'filled' | 'kept'> {
  const { VersionIdsToStages = {} } = await client.send(new DescribeSecretCommand({ SecretId: arn }))
  if (Object.values(VersionIdsToStages).some((stages) => stages.includes('AWSCURRENT'))) return 'kept'
  // The id of the first version is known beforehand: Secrets Manager takes a version once, and refuses it with another value.
  const ClientRequestToken = createHash('sha256').update(`first value of ${arn}`).digest('hex')
  try {
    await client.send(new PutSecretValueCommand({ SecretId: arn, ClientRequestToken, SecretString: make() }))
    return 'filled'
  } catch (error) {
    if (error instanceof ResourceExistsException) return 'kept'
    throw error
  }
}

const ATTEMPTS_MAX = 4
const CONNECT_MS = 3_000
/** A cold start has ten seconds in all. */
const REQUEST_MS = 4_000
