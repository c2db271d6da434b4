import { CfnOutput } from 'aws-cdk-lib'
import { ManagedPolicy } from 'aws-cdk-lib/aws-iam'
import type { Bucket } from 'aws-cdk-lib/aws-s3'
import type { Construct } from 'constructs'
import { explainWildcards, type Grant, statement } from './grants.ts'

/** What a Nix substituter asks for below one prefix. A path that is missing is a 403 to it, which Nix takes for a 404. */
export function readGrant(cache: Bucket, prefix: string): Grant {
  return {
    sid: 'ReadNarsAndNarinfos',
    actions: ['s3:GetObject'],
    resources: ['nar/*', '*.narinfo', 'nix-cache-info'].map((keys) =>
      cache.arnForObjects(`${prefix}/${keys}`),
    ),
    because:
      'the names of NARs and narinfos are hashes; the prefix is the tenant, exports of derivations are not among them',
  }
}

/**
 * For `cacheReads=credentials`: a policy to attach to the roles of hosts, which reads what belongs to the tenant that the
 * role is tagged with. Without the tag it reads nothing.
 */
export function cacheReaders(scope: Construct, name: string, cache: Bucket): void {
  const grant = readGrant(cache, PREFIX_OF_ROLE)
  const policy = new ManagedPolicy(scope, 'CacheReader', {
    managedPolicyName: `${name}-cache-reader`,
    description: 'Reads the binary cache of the tenant that the role is tagged with (cf-tenant)',
    statements: [statement(grant)],
  })
  explainWildcards(policy, [grant])
  new CfnOutput(scope, 'CacheReaderPolicyArn', {
    value: policy.managedPolicyArn,
    description: 'For the roles of hosts, tagged cf-tenant=t_...',
  })
  new CfnOutput(scope, 'CacheBucketName', {
    value: cache.bucketName,
    description: 'Followed by / and the id of the tenant, after s3://: a substituter for hosts',
  })
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of IAM, not of TypeScript
const PREFIX_OF_ROLE = '${aws:PrincipalTag/cf-tenant}'
