import type { S3Client } from '@aws-sdk/client-s3'
import type { SQSClient } from '@aws-sdk/client-sqs'
import { s3Client } from './s3-client.ts'
import type { AwsSettings } from './settings.ts'
import { sqsClient } from './sqs-client.ts'

export type AwsClients = { readonly sqs: SQSClient; readonly s3: S3Client }

/**
 * Both clients. They, and those of the files beside, are the only ones that exist, because each rule in them was learnt
 * from a failure. Opens no connection. A function that needs one of them does not load the SDK of the other.
 */
export function awsClients(settings: AwsSettings): AwsClients {
  return { sqs: sqsClient(settings), s3: s3Client(settings) }
}
