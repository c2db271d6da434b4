export { callerAccount } from './caller-account.ts'
export * from './clients.ts'
export { type Presigned, type PresignRequest, presign } from './presign.ts'
export { type RdsLogin, rdsPassword } from './rds-token.ts'
export {
  type Bucket,
  bucket,
  type ListedObject,
  type ListPage,
  type ObjectHeaders,
  type ObjectInfo,
  type ObjectStream,
  type PresignOptions,
  type StoreOutcome,
  type StreamStored,
} from './s3.ts'
export { s3Client } from './s3-client.ts'
export { isForbidden } from './s3-errors.ts'
export { type Secrets, secretsManager } from './secrets.ts'
export type { AwsCredentials, AwsSettings } from './settings.ts'
export {
  type NotSent,
  type OutgoingMessage,
  type Queue,
  type QueueDepth,
  queue,
  queueUrl,
  type ReceivedMessage,
  type ReceiveOptions,
} from './sqs.ts'
export { sqsClient } from './sqs-client.ts'
