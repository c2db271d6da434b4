import type { AwsSettings } from '@crystal-forge/aws'
import type { EnvironmentReader } from './environment.ts'

/** Region, and addresses that stand in for its services on one machine; in AWS there are none. */
export function readAwsSettings(environment: EnvironmentReader): AwsSettings {
  const everywhere = environment.optional('AWS_ENDPOINT_URL')
  return {
    region: environment.text('AWS_REGION'),
    endpoint: {
      sqs: environment.optional('AWS_ENDPOINT_URL_SQS') ?? everywhere,
      s3: environment.optional('AWS_ENDPOINT_URL_S3') ?? everywhere,
    },
  }
}
