import { CfnOutput, Stack } from 'aws-cdk-lib'
import {
  AllowedMethods,
  CachePolicy,
  Distribution,
  HttpVersion,
  SecurityPolicyProtocol,
  ViewerProtocolPolicy,
} from 'aws-cdk-lib/aws-cloudfront'
import { S3BucketOrigin } from 'aws-cdk-lib/aws-cloudfront-origins'
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Bucket } from 'aws-cdk-lib/aws-s3'
import type { Construct } from 'constructs'
import { acknowledge } from './acknowledge.ts'
import type { Buckets } from './buckets.ts'
import { asBucket } from './cdk-interfaces.ts'
import { explainWildcards, type Grant, statement } from './grants.ts'

/** The cache for everybody who knows its name: NARs and narinfos, and nothing else of the bucket. It lives with the data, because hosts name it. */
export function cacheCdn(scope: Construct, { cache, accessLogs }: Buckets): void {
  // By name, so that CDK does not open the whole bucket to the distribution.
  const origin = Bucket.fromBucketAttributes(scope, 'CacheByName', {
    bucketArn: cache.bucketArn,
    bucketRegionalDomainName: cache.bucketRegionalDomainName,
  })
  const cdn = new Distribution(scope, 'CacheCdn', {
    comment: 'Nix binary cache',
    httpVersion: HttpVersion.HTTP2_AND_3,
    minimumProtocolVersion: SecurityPolicyProtocol.TLS_V1_2_2021,
    logBucket: asBucket(accessLogs),
    logFilePrefix: 'cdn/',
    defaultBehavior: {
      origin: S3BucketOrigin.withOriginAccessControl(origin),
      viewerProtocolPolicy: ViewerProtocolPolicy.HTTPS_ONLY,
      allowedMethods: AllowedMethods.ALLOW_GET_HEAD,
      cachePolicy: CachePolicy.CACHING_OPTIMIZED,
      compress: false,
    },
  })
  acknowledge(cdn, REASONS)
  const grant: Grant = {
    sid: 'CdnReadsNarsAndNarinfos',
    actions: ['s3:GetObject'],
    resources: ['*/nar/*', '*.narinfo', '*/nix-cache-info'].map((keys) => cache.arnForObjects(keys)),
    when: {
      StringEquals: {
        'AWS:SourceArn': Stack.of(scope).formatArn({
          service: 'cloudfront',
          region: '',
          resource: 'distribution',
          resourceName: cdn.distributionId,
        }),
      },
    },
    because: 'the cache is read as a whole; exports of derivations are not among these keys',
  }
  const allowed = statement(grant)
  allowed.addPrincipals(new ServicePrincipal('cloudfront.amazonaws.com'))
  cache.addToResourcePolicy(allowed)
  if (cache.policy !== undefined) explainWildcards(cache.policy, [grant])
  new CfnOutput(scope, 'CacheUrl', {
    value: `https://${cdn.distributionDomainName}`,
    description: 'Followed by the id of the tenant: a substituter for hosts',
  })
}

const REASONS = {
  'AwsSolutions-CFR1':
    'hosts are where they are; what they fetch is signed and can be read by whoever knows its hash',
  'AwsSolutions-CFR2':
    'static objects behind GET and HEAD: there is no input that a web application firewall could inspect',
  'AwsSolutions-CFR4':
    'the name is one of cloudfront.net, whose certificate fixes the protocol; Nix speaks TLS 1.2 and newer',
}
