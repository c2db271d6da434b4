import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib'
import {
  CfnOIDCProvider,
  PolicyStatement,
  Role,
  ServicePrincipal,
  WebIdentityPrincipal,
} from 'aws-cdk-lib/aws-iam'
import { CfnCRL, CfnProfile, CfnTrustAnchor } from 'aws-cdk-lib/aws-rolesanywhere'
import type { Construct } from 'constructs'
import type { ComputeStack } from './compute-stack.ts'
import type { DataStack } from './data-stack.ts'
import { type Grant, grantTo } from './grants.ts'
import type { Parameters } from './parameters.ts'

export type BuildersProps = StackProps & {
  readonly parameters: Parameters
  readonly data: DataStack
  readonly compute: ComputeStack
  /** PEM texts; read by the program, so that this stack stays a function of its arguments. */
  readonly authorityPem: string | undefined
  readonly crlPem: string | undefined
}

/** How machines outside of AWS become builders here: by a certificate of an authority of yours, or by OIDC. */
export class BuildersStack extends Stack {
  constructor(
    scope: Construct,
    id: string,
    { parameters, data, compute, authorityPem, crlPem, ...props }: BuildersProps,
  ) {
    super(scope, id, props)
    if (authorityPem !== undefined) byCertificate(this, { parameters, data, compute, authorityPem, crlPem })
    if (parameters.builderOidc !== undefined) byOidc(this, { parameters, data, compute })
  }
}

type Parts = Pick<BuildersProps, 'parameters' | 'data' | 'compute'>

function byCertificate(
  scope: Construct,
  {
    parameters,
    data,
    compute,
    authorityPem,
    crlPem,
  }: Parts & { authorityPem: string; crlPem: string | undefined },
): void {
  const { name, builderNames } = parameters
  const anchor = new CfnTrustAnchor(scope, 'TrustAnchor', {
    name,
    enabled: true,
    source: { sourceType: 'CERTIFICATE_BUNDLE', sourceData: { x509CertificateData: authorityPem } },
  })
  const principal = new ServicePrincipal('rolesanywhere.amazonaws.com', {
    conditions: {
      ArnEquals: { 'aws:SourceArn': anchor.attrTrustAnchorArn },
      StringEquals: { 'aws:PrincipalTag/x509Subject/CN': [...builderNames] },
    },
  })
  const role = new Role(scope, 'Builder', {
    roleName: `${name}-builder`,
    description: 'A builder with a certificate; its OU is the tenant whose part of the cache it may write',
    assumedBy: principal.withSessionTags(),
  })
  role.assumeRolePolicy?.addStatements(
    new PolicyStatement({
      sid: 'NameTheCertificate',
      actions: ['sts:SetSourceIdentity'],
      principals: [principal],
    }),
  )
  grantTo(role, role, builderGrants({ data, compute }, PREFIX_OF_CERTIFICATE))
  const profile = new CfnProfile(scope, 'Profile', {
    name,
    enabled: true,
    roleArns: [role.roleArn],
    durationSeconds: 3600,
  })
  if (crlPem !== undefined)
    new CfnCRL(scope, 'RevocationList', {
      name,
      enabled: true,
      crlData: crlPem,
      trustAnchorArn: anchor.attrTrustAnchorArn,
    })
  new CfnOutput(scope, 'TrustAnchorArn', { value: anchor.attrTrustAnchorArn })
  new CfnOutput(scope, 'ProfileArn', { value: profile.attrProfileArn })
  new CfnOutput(scope, 'RoleArn', { value: role.roleArn })
}

function byOidc(scope: Construct, { parameters, data, compute }: Parts): void {
  const { name, builderOidc } = parameters
  if (builderOidc === undefined) return
  const { issuer, audience, subject, tenant } = builderOidc
  const provider = new CfnOIDCProvider(scope, 'Issuer', { url: issuer, clientIdList: [audience] })
  const host = issuer.replace(/^https:\/\//, '')
  const role = new Role(scope, 'OidcBuilder', {
    roleName: `${name}-oidc-builder`,
    description: `A builder with a token of ${host}`,
    assumedBy: new WebIdentityPrincipal(provider.attrArn, {
      StringEquals: { [`${host}:aud`]: audience, [`${host}:sub`]: subject },
    }),
  })
  grantTo(role, role, builderGrants({ data, compute }, tenant))
  new CfnOutput(scope, 'OidcRoleArn', { value: role.roleArn })
}

/** Exactly what `builder-agent` does: takes hints, uploads below its tenant's prefix, reads what others uploaded there. */
function builderGrants({ data, compute }: Pick<Parts, 'data' | 'compute'>, prefix: string): Grant[] {
  const { cache } = data.buckets
  const uploads = [cache.arnForObjects(`${prefix}/nar/*`), cache.arnForObjects(`${prefix}/drv/*`)]
  const because =
    'the names of NARs and exports are hashes; the prefix is the tenant, narinfos are not among them'
  return [
    {
      sid: 'TakeHints',
      actions: [
        'sqs:ReceiveMessage',
        'sqs:DeleteMessage',
        'sqs:ChangeMessageVisibility',
        'sqs:GetQueueAttributes',
      ],
      resources: Object.values(compute.jobQueues).map(({ queue }) => queue.queueArn),
    },
    {
      sid: 'Upload',
      actions: ['s3:PutObject', 's3:AbortMultipartUpload'],
      resources: uploads,
      because,
    },
    { sid: 'Read', actions: ['s3:GetObject'], resources: uploads, because },
    {
      // Without it S3 answers 403 instead of 404 for an object that is not there.
      sid: 'TellMissingFromForbidden',
      actions: ['s3:ListBucket'],
      resources: [cache.bucketArn],
      when: { StringLikeIfExists: { 's3:prefix': `${prefix}/*` } },
    },
  ]
}

/** The organisational unit of the certificate: a session tag that the holder cannot choose. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of IAM, not of TypeScript
const PREFIX_OF_CERTIFICATE = '${aws:PrincipalTag/x509Subject/OU}'
