import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs'

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

export type AwsClients = { readonly sqs: SQSClient; readonly s3: S3Client }

/** The only place that makes clients of AWS services, because each rule below was learnt from a failure. Opens no connection. */
export function awsClients(settings: AwsSettings): AwsClients {
  return { sqs: sqsClient(settings), s3: s3Client(settings) }
}

export function sqsClient(settings: AwsSettings): SQSClient {
  const endpoint = settings.endpoint?.sqs
  const config: SQSClientConfig = {
    ...common(settings, endpoint),
    // The SDK would send to the host of the queue URL, which a stand-in makes up. Any override means that there is one.
    ...(overridden(settings) ? { useQueueUrlAsEndpoint: false } : {}),
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: LONG_POLL_MS },
  }
  return new SQSClient(config)
}

export function s3Client(settings: AwsSettings): S3Client {
  const endpoint = settings.endpoint?.s3
  const config: S3ClientConfig = {
    ...common(settings, endpoint),
    // A bucket in the host name would need DNS for it.
    ...(endpoint === undefined ? {} : { forcePathStyle: true }),
    requestHandler: { connectionTimeout: CONNECT_MS },
  }
  return new S3Client(config)
}

type Common = Pick<S3ClientConfig, 'region' | 'endpoint' | 'credentials' | 'maxAttempts'>

function common(settings: AwsSettings, endpoint: string | undefined): Common {
  const credentials = settings.credentials ?? (isLoopback(endpoint) ? TEST_CREDENTIALS : undefined)
  return {
    region: settings.region,
    maxAttempts: ATTEMPTS_MAX,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  }
}

function overridden(settings: AwsSettings): boolean {
  return settings.endpoint?.sqs !== undefined || settings.endpoint?.s3 !== undefined
}

/** Real credentials never go to something on this machine that only claims to be AWS. */
function isLoopback(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return false
  const host = new URL(endpoint).hostname
  return host === 'localhost' || host === '[::1]' || /^127(\.\d+){3}$/.test(host)
}

const TEST_CREDENTIALS: AwsCredentials = { accessKeyId: 'test', secretAccessKey: 'test' }
const ATTEMPTS_MAX = 4
const CONNECT_MS = 5_000
/** The longest poll of SQS is 20 s. */
const LONG_POLL_MS = 30_000
