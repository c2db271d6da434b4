import type { IVpc, Vpc } from 'aws-cdk-lib/aws-ec2'
import type { Bucket, IBucket } from 'aws-cdk-lib/aws-s3'

// The CDK is compiled without exactOptionalPropertyTypes, so to our compiler some of its classes do not fit their own
// interfaces. These two assertions are the only ones, and they say nothing that the CDK does not declare itself.

export function asVpc(vpc: Vpc): IVpc {
  return vpc as IVpc
}

export function asBucket(bucket: Bucket): IBucket {
  return bucket as IBucket
}
