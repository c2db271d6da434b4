import { CfnResource, Duration } from 'aws-cdk-lib'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  ObjectLockRetention,
  ObjectOwnership,
  StorageClass,
} from 'aws-cdk-lib/aws-s3'
import type { Construct } from 'constructs'
import { acknowledge } from './acknowledge.ts'
import { asBucket } from './cdk-interfaces.ts'
import { REASONS } from './grants.ts'
import { KEPT } from './kept.ts'
import type { Parameters } from './parameters.ts'

export type Buckets = {
  /** NARs, narinfos and exports of derivations, each tenant below its own prefix. */
  readonly cache: Bucket
  /** Exports of evidence that nobody can take back. */
  readonly evidence: Bucket
  /** Who read and wrote the others. */
  readonly accessLogs: Bucket
}

export function buckets(scope: Construct, parameters: Parameters, key: IKey): Buckets {
  const accessLogs = new Bucket(scope, 'AccessLogs', {
    ...COMMON,
    encryption: BucketEncryption.S3_MANAGED,
    // CloudFront delivers its logs by ACL.
    objectOwnership:
      parameters.cacheReads === 'cloudfront'
        ? ObjectOwnership.OBJECT_WRITER
        : ObjectOwnership.BUCKET_OWNER_ENFORCED,
    // What has expired lives on as an old version, which has to go as well.
    lifecycleRules: [
      {
        expiration: Duration.days(parameters.logRetentionDays),
        noncurrentVersionExpiration: Duration.days(1),
      },
    ],
  })
  acknowledge(accessLogs, {
    'NIST.800.53.R5-S3DefaultEncryptionKMS':
      'S3 delivers access logs only to buckets that it encrypts itself (SSE-S3)',
    'NIST.800.53.R5-S3BucketReplicationEnabled': NO_REPLICA,
  })
  const logged = (prefix: string) => ({
    serverAccessLogsBucket: asBucket(accessLogs),
    serverAccessLogsPrefix: prefix,
  })
  const cache = new Bucket(scope, 'Cache', {
    ...COMMON,
    ...logged('cache/'),
    encryption: BucketEncryption.S3_MANAGED,
    lifecycleRules: [
      { abortIncompleteMultipartUploadAfter: Duration.days(2) },
      { noncurrentVersionExpiration: Duration.days(30) },
      // Nothing deletes NARs: those that nobody fetches any more become cheaper by themselves, and answer as fast as ever.
      {
        transitions: [{ storageClass: StorageClass.INTELLIGENT_TIERING, transitionAfter: Duration.days(0) }],
      },
    ],
  })
  acknowledge(cache, {
    'NIST.800.53.R5-S3DefaultEncryptionKMS':
      'hosts and the CDN read build results here; a key of ours would have to be open to each of them and protects nothing that the bucket policy does not',
    'NIST.800.53.R5-S3BucketReplicationEnabled':
      'everything in the cache can be built again from the commit that evidence names; a replica is for those who need the time',
  })
  const evidence = new Bucket(scope, 'Evidence', {
    ...COMMON,
    ...logged('evidence/'),
    encryption: BucketEncryption.KMS,
    encryptionKey: key,
    bucketKeyEnabled: true,
    objectLockDefaultRetention:
      parameters.evidenceLockMode === 'COMPLIANCE'
        ? ObjectLockRetention.compliance(Duration.days(parameters.evidenceLockDays))
        : ObjectLockRetention.governance(Duration.days(parameters.evidenceLockDays)),
  })
  acknowledge(evidence, { 'NIST.800.53.R5-S3BucketReplicationEnabled': NO_REPLICA })
  // A bucket that is kept without its policy would be open to plain HTTP, and have no access log.
  for (const { policy } of [accessLogs, cache, evidence]) policy?.applyRemovalPolicy(KEPT)
  const logging = accessLogs.policy?.node.defaultChild
  if (logging instanceof CfnResource)
    logging.addMetadata(REASONS, {
      // CDK writes these statements without a Sid, so they go by their action.
      's3:PutObject':
        'S3 names the objects of an access log by time; only its logging service may write them, for one bucket each',
    })
  return { cache, evidence, accessLogs }
}

const COMMON = {
  blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
  enforceSSL: true,
  minimumTLSVersion: 1.2,
  versioned: true,
  removalPolicy: KEPT,
  objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
} as const

const NO_REPLICA =
  'versions and Object Lock protect against people, and S3 against disks; a second region is a decision of the operator, whose data may have to stay in this one'
