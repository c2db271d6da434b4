import type { S3ClientConfig } from '@aws-sdk/client-s3'

export type AwsSettings = {
  readonly region: string
  /** Addresses that stand in for the services of the region, from AWS_ENDPOINT_URL[_SQS|_S3]. Use an IP for loopback. */
  readonly endpoint?: { readonly sqs?: string | undefined; readonly s3?: string | undefined } | undefined
  /** Instead of the default chain. */
  readonly credentials?: AwsCredentials | (() => Promise<AwsCredentials>) | undefined
}

export type AwsCredentials = {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

type Common = Pick<S3ClientConfig, 'region' | 'endpoint' | 'credentials' | 'maxAttempts'>

/** What clients of all services have in common. */
export function commonSettings(settings: AwsSettings, endpoint: string | undefined): Common {
  const credentials = settings.credentials ?? (isLoopback(endpoint) ? TEST_CREDENTIALS : undefined)
  return {
    region: settings.region,
    maxAttempts: ATTEMPTS_MAX,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  }
}

/** Real credentials never go to something on this machine that only claims to be AWS. */
function isLoopback(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return false
  const host = new URL(endpoint).hostname
  return host === 'localhost' || host === '[::1]' || /^127(\.\d+){3}$/.test(host)
}

const TEST_CREDENTIALS: AwsCredentials = { accessKeyId: 'test', secretAccessKey: 'test' }
const ATTEMPTS_MAX = 4
export const CONNECT_MS = 5_000
