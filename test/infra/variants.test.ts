import { Validations } from 'aws-cdk-lib'
import { beforeAll, describe, expect, test } from 'vitest'
import { ROUTES } from '../../functions/routes.ts'
import { ALL_FINDINGS } from '../../infra/acknowledge.ts'
import { CONCURRENCY } from '../../infra/capacity.ts'
import { findings } from '../../infra/checks.ts'
import { splitKey } from '../../infra/throttle.ts'
import {
  openToEverybody,
  policiesOfAws,
  turnedAround,
  wildcardsWithoutReason,
  withoutAccount,
} from './least-privilege.ts'
import { listOf, type Synthesized, sorted, statements, synthesize } from './synthesized.ts'

// Two deployments that between them take every turn that the parameters offer.
const CA = new URL('./builder-authority.pem', import.meta.url).pathname

const PRIVATE_IN_GOVCLOUD = {
  region: 'us-gov-west-1',
  availabilityZones: 'us-gov-west-1a,us-gov-west-1b',
  exposure: 'private',
  clientCidrs: '10.0.0.0/8,192.168.0.0/16',
  database: 'aurora',
  databaseProxy: 'true',
  builderCaFile: CA,
  builderNames: 'builder-1,builder-2',
  tags: 'owner=platform',
}
const PUBLIC_WITH_ALL = {
  publicHost: 'api.example.com',
  certificateArn: 'arn:aws:acm:us-east-1:123456789012:certificate/00000000',
  oidcIssuer: 'https://login.example.com',
  oidcAudience: 'crystal-forge',
  cacheReads: 'cloudfront',
  databaseMultiAz: 'false',
  deletionProtection: 'false',
  evidenceLockMode: 'COMPLIANCE',
  builderOidcIssuer: 'https://tokens.example.com',
  builderOidcAudience: 'sts.amazonaws.com',
  builderOidcSubject: 'builder:1',
  builderOidcTenant: 't_1',
  alarmEmail: 'ops@example.com',
  budgetUsd: '100',
}

describe('a private deployment in GovCloud', () => {
  let made: Synthesized
  // The first synthesis loads the CDK, which takes long on a busy machine.
  beforeAll(async () => {
    made = await synthesize(PRIVATE_IN_GOVCLOUD)
  }, 120_000)

  test('works in any partition, has every route, and lets builders do what they do', () => {
    expect(made.text.match(/arn:aws[a-z-]*:/g)).toBeNull()
    expect(tooMuch(made)).toEqual([])

    const methods = made
      .ofType('AWS::ApiGateway::Method')
      .map(([, { Properties }]) => Properties['HttpMethod'])
    expect(sorted(methods)).toEqual(sorted(ROUTES.map(({ key }) => splitKey(key).method)))
    expect(made.ofType('AWS::ApiGatewayV2::Api')).toEqual([])
    const api = made.only('AWS::ApiGateway::RestApi')
    expect(api.Properties['EndpointConfiguration']).toMatchObject({ Types: ['PRIVATE'] })
    const open = made
      .ofType('AWS::EC2::SecurityGroup')
      .flatMap(([, { Properties }]) => listOf(Properties['SecurityGroupIngress']))
      .map((rule) => JSON.stringify(rule))
    expect(open.filter((rule) => rule.includes('CidrIp')).length).toBe(2)
    expect(open.filter((rule) => rule.includes('0.0.0.0/0'))).toEqual([])

    const builder = builderRights(made)
    expect(builder.actions).toEqual([
      's3:AbortMultipartUpload',
      's3:GetObject',
      's3:PutObject',
      'sqs:ChangeMessageVisibility',
      'sqs:DeleteMessage',
      'sqs:GetQueueAttributes',
      'sqs:ReceiveMessage',
    ])
    expect(builder.objects.every((one) => one.includes('PrincipalTag/x509Subject/OU}/'))).toBe(true)
    const [[, role] = []] = made.ofType('AWS::IAM::Role').filter(([id]) => id.includes('-builders/'))
    expect(role?.Properties['AssumeRolePolicyDocument']).toMatchObject({
      Statement: [
        {
          Principal: { Service: 'rolesanywhere.amazonaws.com' },
          Condition: { StringEquals: { 'aws:PrincipalTag/x509Subject/CN': ['builder-1', 'builder-2'] } },
        },
        { Action: 'sts:SetSourceIdentity' },
      ],
    })
    const cluster = made.only('AWS::RDS::DBCluster')
    expect(cluster.Properties).toMatchObject({
      EnableIAMDatabaseAuthentication: true,
      StorageEncrypted: true,
    })
  })

  test('with a proxy every function that logs in as itself goes through it and knows it', () => {
    const proxy = made.only('AWS::RDS::DBProxy')
    expect(proxy.Properties).toMatchObject({ RequireTLS: true, DefaultAuthScheme: 'IAM_AUTH' })
    const proxied = Object.fromEntries(
      made.ofType('AWS::Lambda::Function').flatMap(([, { Properties }]) => {
        const variables: Readonly<Record<string, unknown>> = Object(
          Object(Properties['Environment']).Variables,
        )
        if (variables['DATABASE_HOST'] === undefined) return []
        const host = JSON.stringify(variables['DATABASE_HOST'])
        return [[Properties['FunctionName'], [variables['DATABASE_PROXY'], /Proxy.*Endpoint/.test(host)]]]
      }),
    )
    const { 'crystal-forge-migrations': owner, ...others } = proxied
    // The owner of the schema logs in with a password, which the proxy does not know.
    expect(owner).toEqual([undefined, false])
    expect(Object.keys(others).length).toBe(Object.keys(CONCURRENCY).length - 2)
    expect(new Set(Object.values(others).map(String))).toEqual(new Set(['1,true']))
    const rights = statements(made).filter(({ statement }) =>
      listOf(statement.Action).includes('rds-db:connect'),
    )
    const ofFunctions = rights.filter(({ id }) => !id.includes('ProxyRole'))
    expect(ofFunctions.length).toBe(Object.keys(others).length)
    expect(ofFunctions.every(({ statement }) => JSON.stringify(statement.Resource).includes('Proxy'))).toBe(
      true,
    )
  })

  test('lets hosts with a certificate read the cache of their own tenant, and builders no other', () => {
    const reader = statements(made).filter(({ id }) => id.includes('-builders/Reader'))
    const [policy] = reader.filter(({ resource }) => resource.Type === 'AWS::IAM::ManagedPolicy')
    expect(listOf(policy?.statement.Action)).toEqual(['s3:GetObject'])
    expect(keysOf(policy?.statement.Resource)).toEqual(
      ['nar/*', '*.narinfo', 'nix-cache-info'].map((keys) => `/\${aws:PrincipalTag/x509Subject/OU}/${keys}`),
    )
    const trusted = reader.filter(({ resource }) => resource.Type === 'AWS::IAM::Role')
    expect(trusted.length).toBe(2)
    for (const { statement } of trusted)
      expect(statement.Condition).toEqual({
        ArnEquals: { 'aws:SourceArn': { 'Fn::GetAtt': ['TrustAnchor', 'TrustAnchorArn'] } },
        StringLike: { 'aws:PrincipalTag/x509Subject/OU': 't_*' },
      })
    expect(made.ofType('AWS::RolesAnywhere::Profile').length).toBe(2)
  })
})

test('in China the key of the logs is used by the service of logs that is there', async () => {
  const made = await synthesize({ region: 'cn-north-1', availabilityZones: 'cn-north-1a,cn-north-1b' })
  const principals = statements(made)
    .filter(({ resource, statement }) => resource.Type === 'AWS::KMS::Key' && statement.Sid === 'Logs')
    .map(({ statement }) => statement.Principal)
  expect(principals).toEqual([{ Service: 'logs.cn-north-1.amazonaws.com.cn' }])
  expect(made.text.match(/arn:aws[a-z-]*:/g)).toBeNull()
})

describe('a public deployment with everything', () => {
  test('checks operators by JWT, closes the other name, and opens of the cache what hosts read', async () => {
    const made = await synthesize(PUBLIC_WITH_ALL)
    expect(tooMuch(made)).toEqual([])
    const byJwt = made
      .ofType('AWS::ApiGatewayV2::Route')
      .filter(([, { Properties }]) => Properties['AuthorizationType'] === 'JWT')
      .map(([, { Properties }]) => Properties['RouteKey'])
    const operators = ROUTES.filter(({ caller }) => caller === 'operator').map(({ key }) => key)
    expect(sorted(byJwt)).toEqual(sorted(operators))
    const authorizer = made.only('AWS::ApiGatewayV2::Authorizer')
    expect(authorizer.Properties['JwtConfiguration']).toEqual({
      Issuer: 'https://login.example.com',
      Audience: ['crystal-forge'],
    })
    const api = made.only('AWS::ApiGatewayV2::Api')
    expect(api.Properties['DisableExecuteApiEndpoint']).toBe(true)
    const cdn = statements(made).find(({ statement }) => statement.Sid === 'CdnReadsNarsAndNarinfos')
    expect(JSON.stringify(cdn?.statement.Resource)).not.toContain('drv')
    expect(builderRights(made).objects.every((one) => one.includes('/t_1/'))).toBe(true)
    expect(made.text).not.toContain('cache-reader')
    expect(made.ofType('AWS::Budgets::Budget').length).toBe(1)
  })
})

test('what may be chosen later can be chosen and given up: no stack drops what another one still imports', async () => {
  const without = await synthesize()
  const chosen = await synthesize({
    ...PUBLIC_WITH_ALL,
    databaseProxy: 'true',
    builderCaFile: CA,
    builderNames: 'builder-1',
    alarmKeyAgeDays: '365',
  })
  // Stacks are updated one after the other, first those that export.
  const lost = (before: Synthesized, after: Synthesized): string[] =>
    [...exportsOf(before)].filter((name) => !exportsOf(after).has(name) && importsOf(before).has(name))
  expect(lost(without, chosen)).toEqual([])
  expect(lost(chosen, without)).toEqual([])
  // An instance of its own kind is what it stays.
  expect(lost(without, await synthesize({ database: 'aurora' })).length).toBeGreaterThan(0)
}, 120_000)

test.each([
  { name: 'the default', context: {} },
  { name: 'private', context: PRIVATE_IN_GOVCLOUD },
  { name: 'everything', context: PUBLIC_WITH_ALL },
])(
  'every finding of cdk-nag has a reason, and no reason outlives its finding: $name',
  async ({ context }) => {
    const { app } = await synthesize(context)
    expect(findings(app)).toEqual([])
    const acknowledged = app.node.findAll().flatMap((node) =>
      node.node.metadata
        .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
        .flatMap(({ data }) => Object.entries<string>(data))
        .map(([id, reason]) => ({ path: node.node.path, id: id.replace(/^annotation::/i, ''), reason }))
        // CDK acknowledges findings of its own rules as well.
        .filter(({ id }) => /^(AwsSolutions|NIST)/.test(id)),
    )
    expect(acknowledged.length).toBeGreaterThan(50)
    expect(acknowledged.filter(({ reason }) => reason.trim().length < 20)).toEqual([])
    const all = findings((await synthesize({ ...context, [ALL_FINDINGS]: 'true' })).app)
    const stale = acknowledged.filter(
      ({ path, id }) => !all.some((finding) => finding.startsWith(`${id} ${path}`)),
    )
    expect(stale.map(({ path, id }) => `${path}: ${id}`)).toEqual([])
  },
)

function exportsOf({ text }: Synthesized): Set<string> {
  return new Set([...text.matchAll(/"Export":\{"Name":"([^"]+)"\}/g)].map(([, name = '']) => name))
}

function importsOf({ text }: Synthesized): Set<string> {
  return new Set([...text.matchAll(/"Fn::ImportValue":"([^"]+)"/g)].map(([, name = '']) => name))
}

function tooMuch(made: Synthesized): string[] {
  return [wildcardsWithoutReason, turnedAround, policiesOfAws, openToEverybody, withoutAccount].flatMap(
    (find) => find(made),
  )
}

/** Of the objects that a statement is about, what stands behind the bucket. */
function keysOf(resources: unknown): string[] {
  return listOf(resources).map((one) => String(Object(one)['Fn::Join']?.[1].at(-1)))
}

function builderRights(made: Synthesized): { actions: string[]; objects: string[] } {
  const own = statements(made).filter(
    ({ id, resource }) => id.includes('-builders/') && resource.Type === 'AWS::IAM::ManagedPolicy',
  )
  return {
    actions: sorted([...new Set(own.flatMap(({ statement }) => listOf(statement.Action)))]),
    objects: own
      .filter(({ statement }) => listOf(statement.Action).some((action) => /Object|Upload/.test(action)))
      .flatMap(({ statement }) => listOf(statement.Resource))
      .map((resource) => JSON.stringify(resource)),
  }
}
