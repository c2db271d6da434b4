import { SQSClient, type SQSClientConfig } from '@aws-sdk/client-sqs'
import { type AwsSettings, CONNECT_MS, commonSettings } from './settings.ts'

export function sqsClient(settings: AwsSettings): SQSClient {
  const endpoint = settings.endpoint?.sqs
  const config: SQSClientConfig = {
    ...commonSettings(settings, endpoint),
    // The SDK would send to the host of the queue URL, which a stand-in makes up. Any override means that there is one.
    ...(overridden(settings) ? { useQueueUrlAsEndpoint: false } : {}),
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: LONG_POLL_MS },
  }
  return new SQSClient(config)
}

function overridden(settings: AwsSettings): boolean {
  return settings.endpoint?.sqs !== undefined || settings.endpoint?.s3 !== undefined
}

/** The longest poll of SQS is 20 s. */
const LONG_POLL_MS = 30_000
