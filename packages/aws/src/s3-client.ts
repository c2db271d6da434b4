import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { type AwsSettings, CONNECT_MS, commonSettings } from './settings.ts'

export function s3Client(settings: AwsSettings): S3Client {
  const endpoint = settings.endpoint?.s3
  const config: S3ClientConfig = {
    ...commonSettings(settings, endpoint),
    // A bucket in the host name would need DNS for it.
    ...(endpoint === undefined ? {} : { forcePathStyle: true }),
    requestHandler: { connectionTimeout: CONNECT_MS },
  }
  return new S3Client(config)
}
