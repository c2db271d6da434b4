import { CfnOutput, Duration, Stack, type StackProps } from 'aws-cdk-lib'
import {
  CfnOIDCProvider,
  PolicyStatement,
  Role,
  ServicePrincipal,
  WebIdentityPrincipal,
} from 'aws-cdk-lib/aws-iam'
import { CfnCRL, CfnProfile, CfnTrustAnchor } from 'aws-cdk-lib/aws-rolesanywhere'
import type { Construct } from 'constructs'
import type { BuilderTrust } from './builder-trust.ts'
import { readGrant } from './cache-readers.ts'
import type { ComputeStack } from './compute-stack.ts'
import type { DataStack } from './data-stack.ts'
import { type Grant, grantTo } from './grants.ts'
import type { Parameters } from './parameters.ts'
import { ServiceEvent } from './service-events.ts'

export type BuildersProps = StackProps & {
  readonly parameters: Parameters
  readonly data: DataStack
  readonly compute: ComputeStack
  /** Read by the program, so that this stack stays a function of its arguments. */
  readonly trust: BuilderTrust | undefined
}

/** How machines outside of AWS become builders here: by a certificate of an authority of yours, or by OIDC. */
export class BuildersStack extends Stack {
  constructor(scope: Construct, id: string, { parameters, data, compute, trust, ...props }: BuildersProps) {
    super(scope, id, props)
    const parts = { parameters, data, compute }
    if (trust !== undefined) byCertificate(this, { ...parts, trust })
    if (parameters.builderOidc !== undefined) byOidc(this, parts)
  }
}

type Parts = Pick<BuildersProps, 'parameters' | 'data' | 'compute'>

function byCertificate(scope: Construct, { trust, ...parts }: Parts & { trust: BuilderTrust }): void {
  const { parameters } = parts
  const { name, builderNames } = parameters
  const anchorArn = trustAnchor(scope, parameters, trust)
  certificatesEnding(scope, parts)
  const builder = certificateRole(scope, 'Builder', {
    roleName: `${name}-builder`,
    description: 'A builder with a certificate; its OU is the tenant whose part of the cache it may write',
    when: {
      ArnEquals: { 'aws:SourceArn': anchorArn },
      StringEquals: { 'aws:PrincipalTag/x509Subject/CN': [...builderNames] },
    },
  })
  grantTo(builder, builder, builderGrants(parts, PREFIX_OF_CERTIFICATE))
  const profile = new CfnProfile(scope, 'Profile', {
    name,
    enabled: true,
    roleArns: [builder.roleArn],
    durationSeconds: 3600,
  })
  if (parameters.cacheReads === 'credentials') readersByCertificate(scope, { ...parts, anchorArn })
  new CfnOutput(scope, 'TrustAnchorArn', { value: anchorArn })
  new CfnOutput(scope, 'ProfileArn', { value: profile.attrProfileArn })
  new CfnOutput(scope, 'RoleArn', { value: builder.roleArn })
}

/** For hosts outside of AWS: any certificate of the authority reads the cache of the tenant in its OU, and nothing else. */
function readersByCertificate(
  scope: Construct,
  { parameters, data, anchorArn }: Parts & { anchorArn: string },
): void {
  const { name } = parameters
  const reader = certificateRole(scope, 'Reader', {
    roleName: `${name}-cache-reader`,
    description: 'A host with a certificate; its OU is the tenant whose part of the cache it may read',
    when: {
      ArnEquals: { 'aws:SourceArn': anchorArn },
      StringLike: { 'aws:PrincipalTag/x509Subject/OU': 't_*' },
    },
  })
  grantTo(reader, reader, [readGrant(data.buckets.cache, PREFIX_OF_CERTIFICATE)])
  const profile = new CfnProfile(scope, 'ReaderProfile', {
    name: `${name}-cache-reader`,
    enabled: true,
    roleArns: [reader.roleArn],
    durationSeconds: 3600,
  })
  new CfnOutput(scope, 'ReaderProfileArn', { value: profile.attrProfileArn })
  new CfnOutput(scope, 'ReaderRoleArn', { value: reader.roleArn })
}

/** @returns its ARN */
function trustAnchor(
  scope: Construct,
  { name, alarmExpiryDays }: Parameters,
  { authorityPem, revocationList }: BuilderTrust,
): string {
  const tell = (event: string): CfnTrustAnchor.NotificationSettingProperty => ({
    event,
    channel: 'ALL',
    enabled: true,
    threshold: alarmExpiryDays,
  })
  const anchor = new CfnTrustAnchor(scope, 'TrustAnchor', {
    name,
    enabled: true,
    source: { sourceType: 'CERTIFICATE_BUNDLE', sourceData: { x509CertificateData: authorityPem } },
    notificationSettings: [tell('CA_CERTIFICATE_EXPIRY'), tell('END_ENTITY_CERTIFICATE_EXPIRY')],
  })
  if (revocationList !== undefined)
    new CfnCRL(scope, 'RevocationList', {
      name,
      enabled: true,
      crlData: revocationList.pem,
      trustAnchorArn: anchor.attrTrustAnchorArn,
    })
  return anchor.attrTrustAnchorArn
}

/** Roles Anywhere sends these once a day for each: of the authority, and of every certificate that was used that day. */
function certificatesEnding(scope: Construct, { parameters, data }: Parts): void {
  const { name, alarmExpiryDays } = parameters
  new ServiceEvent(scope, 'CertificatesEnding', {
    log: data.events,
    topic: data.alarms,
    ruleName: `${name}-certificates-ending`,
    says: `The authority of builders, or a certificate that one of them uses, ends within ${alarmExpiryDays} days.`,
    section: 'keys-and-certificates',
    pattern: {
      source: ['aws.rolesanywhere'],
      'detail-type': ['Roles Anywhere Certificate Expiration State Change'],
    },
    period: Duration.days(1),
  })
}

function certificateRole(
  scope: Construct,
  id: string,
  {
    roleName,
    description,
    when,
  }: {
    roleName: string
    description: string
    when: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  },
): Role {
  const principal = new ServicePrincipal('rolesanywhere.amazonaws.com', { conditions: { ...when } })
  const role = new Role(scope, id, { roleName, description, assumedBy: principal.withSessionTags() })
  role.assumeRolePolicy?.addStatements(
    new PolicyStatement({
      sid: 'NameTheCertificate',
      actions: ['sts:SetSourceIdentity'],
      principals: [principal],
    }),
  )
  return role
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
  ]
}

/** The organisational unit of the certificate: a session tag that the holder cannot choose. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of IAM, not of TypeScript
const PREFIX_OF_CERTIFICATE = '${aws:PrincipalTag/x509Subject/OU}'
