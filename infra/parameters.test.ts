import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { PARAMETERS, type ParameterName } from './parameter-table.ts'
import { ParameterError, readParameters, refuseUnknown } from './parameters.ts'

const file = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')
const read = (context: Readonly<Record<string, unknown>>) => readParameters((name) => context[name])

test('the defaults are a deployment', () => {
  expect(read({})).toMatchObject({
    name: 'crystal-forge',
    exposure: 'public',
    databaseMultiAz: true,
    tags: {},
  })
})

type Hostile = readonly (readonly [
  context: Readonly<Partial<Record<ParameterName, unknown>>>,
  says: string | RegExp,
])[]
const PRIVATE = { exposure: 'private', clientCidrs: '10.0.0.0/8' }
const GOV = { region: 'us-gov-west-1', availabilityZones: 'us-gov-west-1a,us-gov-west-1b' }
const CHINA = { region: 'cn-north-1', availabilityZones: 'cn-north-1a,cn-north-1b' }
const OIDC = { oidcIssuer: 'https://i.example.com', oidcAudience: 'cf' }
const CERTIFICATE = 'arn:aws:acm:us-east-1:123456789012:certificate/0-0'

/** What is refused of each, by itself and beside others. A parameter without a row does not compile. */
const HOSTILE: Readonly<Record<ParameterName, Hostile>> = {
  name: [
    [{ name: '' }, 'context name is missing: a lower-case name; set it with -c name=...'],
    [{ name: 'Forge' }, 'context name is "Forge"; expected a lower-case name'],
    [{ name: 'forge--one' }, 'context name is "forge--one"'],
    [{ name: 'forge-' }, 'context name is "forge-"'],
    [{ name: 'f'.repeat(32) }, 'context name is'],
    [{ name: 'aws' }, 'context name is "aws"'],
  ],
  account: [[{ account: '12345' }, 'context account is "12345"; expected twelve digits']],
  region: [
    [{ region: 'Virginia' }, 'context region is "Virginia"; expected a region, such as us-gov-west-1'],
  ],
  availabilityZones: [
    [{ availabilityZones: 'us-east-1a' }, 'context availabilityZones: exactly two zones are used'],
    [{ availabilityZones: 'us-east-1a,us-east-1a' }, 'context availabilityZones: exactly two zones'],
    [{ availabilityZones: 'us-east-1a;us-east-1b' }, 'context availabilityZones is "us-east-1a;us-east-1b"'],
    [{ region: 'eu-west-1' }, 'context availabilityZones: not all of them lie in the region eu-west-1'],
    [{ availabilityZones: 'us-east-1a,us-east-12b' }, 'not all of them lie in the region us-east-1'],
  ],
  vpcCidr: [
    [{ vpcCidr: '10.20.0.0' }, 'context vpcCidr is "10.20.0.0"; expected a block'],
    [{ vpcCidr: '10.20.0.0/24' }, 'context vpcCidr: 10.20.0.0/24 is no block of /16 to /23'],
    [{ vpcCidr: '10.0.0.0/8' }, 'context vpcCidr: 10.0.0.0/8 is no block of /16 to /23'],
    [{ vpcCidr: '10.999.0.0/20' }, 'context vpcCidr: 10.999.0.0/20 is no block'],
    [{ vpcCidr: '10.20.0.1/20' }, 'context vpcCidr: 10.20.0.1/20 is no block'],
    [{ vpcCidr: '010.020.0.0/20' }, 'context vpcCidr is "010.020.0.0/20"'],
    ...['0.0.0.0/16', '127.0.0.0/16', '169.254.0.0/20', '224.0.0.0/16', '250.0.0.0/16'].map(
      (vpcCidr) => [{ vpcCidr }, `context vpcCidr: ${vpcCidr} is no network that machines`] as const,
    ),
  ],
  tenantName: [
    [{ tenantName: 'Main Office' }, 'context tenantName is "Main Office"; expected lower-case letters'],
  ],
  exposure: [[{ exposure: 'hidden' }, 'context exposure is "hidden"; expected one of public, private']],
  clientCidrs: [
    [{ exposure: 'private' }, 'context clientCidrs: exposure is private, and nobody could reach the API'],
    [{ clientCidrs: '10.0.0.0/8' }, 'context clientCidrs: has no effect while exposure is public'],
    [{ ...PRIVATE, clientCidrs: '10.0.0.0' }, 'context clientCidrs is "10.0.0.0"; expected blocks'],
    [
      { ...PRIVATE, clientCidrs: '0.0.0.0/0' },
      'context clientCidrs: not all of them are blocks of /8 to /32',
    ],
    [{ ...PRIVATE, clientCidrs: '10.1.2.3/8' }, 'context clientCidrs: not all of them are blocks'],
    [
      { ...PRIVATE, clientCidrs: Array.from({ length: 61 }, (_, n) => `10.${n}.0.0/16`).join() },
      'context clientCidrs: more than 60 blocks',
    ],
  ],
  publicHost: [
    [{ certificateArn: CERTIFICATE }, 'context publicHost: a domain needs both'],
    [
      { publicHost: 'https://api.example.com' },
      'context publicHost is "https://api.example.com"; expected a host name',
    ],
    ...['-a.example.com', 'a..example.com', `${'x'.repeat(64)}.com`, '10.1.2.3'].map(
      (publicHost) =>
        [{ publicHost, certificateArn: CERTIFICATE }, `context publicHost is "${publicHost}"`] as const,
    ),
    [
      { ...PRIVATE, publicHost: 'api.example.com', certificateArn: CERTIFICATE },
      'context publicHost: a private API',
    ],
  ],
  certificateArn: [
    [
      { publicHost: 'api.example.com', certificateArn: CERTIFICATE, account: '210987654321' },
      'context certificateArn: the certificate has to lie in the account 210987654321',
    ],
    [
      { publicHost: 'api.example.com', certificateArn: CERTIFICATE.replace('aws:', 'aws-us-gov:') },
      'context certificateArn: the region us-east-1 is in the partition aws',
    ],
    [{ publicHost: 'api.example.com' }, 'context certificateArn: a domain needs both'],
    [{ certificateArn: 'arn:aws:acm:x' }, 'context certificateArn is "arn:aws:acm:x"; expected the ARN'],
    [
      { publicHost: 'api.example.com', certificateArn: CERTIFICATE.replace('us-east-1', 'eu-west-1') },
      'context certificateArn: the certificate has to lie in the region us-east-1',
    ],
  ],
  oidcIssuer: [
    [{ oidcAudience: 'cf' }, 'context oidcIssuer is missing: oidcAudience is set'],
    [
      { ...OIDC, oidcIssuer: 'i.example.com' },
      'context oidcIssuer is "i.example.com"; expected an https address',
    ],
    [{ ...OIDC, oidcIssuer: 'https://' }, 'context oidcIssuer is "https://"'],
    [{ ...PRIVATE, ...OIDC }, 'context oidcIssuer: a private REST API has no JWT authorizer'],
  ],
  oidcAudience: [
    [{ oidcIssuer: 'https://i.example.com' }, 'context oidcAudience is missing: oidcIssuer is set'],
    [{ ...OIDC, oidcAudience: ' ' }, 'context oidcAudience is " "'],
  ],
  database: [[{ database: 'mysql' }, 'context database is "mysql"; expected one of rds, aurora']],
  databaseClass: [
    [{ databaseClass: 'huge' }, 'context databaseClass is "huge"; expected a class such as t4g.small'],
    [{ databaseClass: 't2.micro' }, 'context databaseClass: t2.micro is of no family'],
    [{ databaseClass: 'db.t4g' }, 'context databaseClass: db.t4g is of no family'],
    [
      { database: 'aurora', databaseClass: 'm7g.large' },
      'context databaseClass: has no effect with database=aurora',
    ],
  ],
  databaseStorageGib: [
    [
      { databaseStorageGib: '10' },
      'context databaseStorageGib is "10"; expected a whole number from 20 to 6553',
    ],
    [{ databaseStorageGib: '20GiB' }, 'context databaseStorageGib is "20GiB"; expected GiB'],
    [{ database: 'aurora', databaseStorageGib: '50' }, 'context databaseStorageGib: has no effect'],
  ],
  databaseMultiAz: [
    [{ databaseMultiAz: 'yes' }, 'context databaseMultiAz is "yes"; expected one of true, false'],
  ],
  databaseProxy: [[{ databaseProxy: '' }, 'context databaseProxy is ""; expected one of true, false']],
  databaseCaFile: [
    [{ databaseCaFile: 'rds.pem' }, 'context databaseCaFile is "rds.pem"; expected an absolute path'],
    [{ databaseCaFile: '/etc/rds\n.pem' }, 'context databaseCaFile is "/etc/rds\\n.pem"'],
  ],
  auroraCapacityMax: [
    [
      { database: 'aurora', auroraCapacityMax: '0.5' },
      'context auroraCapacityMax is "0.5"; expected capacity units',
    ],
    [{ auroraCapacityMax: '8' }, 'context auroraCapacityMax: has no effect with database=rds'],
  ],
  backupDays: [[{ backupDays: '0' }, 'context backupDays is "0"; expected a whole number from 1 to 35']],
  deletionProtection: [[{ deletionProtection: 'on' }, 'context deletionProtection is "on"; expected one of']],
  cacheReads: [
    [
      { cacheReads: 'anonymous' },
      'context cacheReads is "anonymous"; expected one of credentials, cloudfront',
    ],
    [{ ...PRIVATE, cacheReads: 'cloudfront' }, 'context cacheReads: CloudFront is reachable by everybody'],
    [{ ...GOV, cacheReads: 'cloudfront' }, 'context cacheReads: CloudFront does not exist in GovCloud'],
    [{ ...CHINA, cacheReads: 'cloudfront' }, 'context cacheReads: CloudFront in China has no origin access'],
  ],
  cacheKeyName: [
    [{ cacheKeyName: 'a:b' }, 'context cacheKeyName is "a:b"; expected letters, digits, dots, hyphens'],
  ],
  evidenceLockDays: [
    [{ evidenceLockDays: '0' }, 'context evidenceLockDays is "0"; expected a whole number from 1'],
  ],
  evidenceLockMode: [
    [
      { evidenceLockMode: 'compliance' },
      'context evidenceLockMode is "compliance"; expected one of GOVERNANCE',
    ],
  ],
  nextReportInS: [
    [{ nextReportInS: '3600' }, 'context nextReportInS is "3600"; expected a whole number from 1 to 1800'],
  ],
  leaseS: [[{ leaseS: '1' }, 'context leaseS is "1"; expected a whole number from 2 to 3600']],
  // What is wrong in the files themselves: test/infra/builder-trust.test.ts.
  builderCaFile: [[{ builderCrlFile: 'crl.pem' }, 'context builderCaFile: a revocation list needs']],
  builderCrlFile: [[{ builderCrlFile: 'crl.pem' }, /^context builderCaFile: a revocation list needs/]],
  builderNames: [
    [{ builderCaFile: 'ca.pem' }, 'context builderNames: name the subjects'],
    [{ builderNames: 'builder-1' }, 'context builderNames: has no effect without builderCaFile'],
    [{ builderCaFile: 'ca.pem', builderNames: 'CN=builder-*' }, 'context builderNames is "CN=builder-*"'],
  ],
  builderOidcIssuer: [
    [{ builderOidcAudience: 'x' }, 'context builderOidcIssuer is missing: builderOidcAudience is set'],
    [{ builderOidcTenant: 't_1' }, 'context builderOidcIssuer is missing: builderOidcTenant is set'],
    [{ builderOidcIssuer: 'http://i.example.com' }, 'context builderOidcIssuer is "http://i.example.com"'],
    [
      { builderOidcIssuer: 'https://i.example.com:8443' },
      'context builderOidcIssuer is "https://i.example.com:8443"',
    ],
  ],
  builderOidcAudience: [
    [{ builderOidcIssuer: 'https://i.example.com' }, 'context builderOidcAudience is missing'],
    [{ builderOidcAudience: '*' }, 'context builderOidcAudience is "*"'],
  ],
  builderOidcSubject: [
    [
      { builderOidcIssuer: 'https://i.example.com', builderOidcAudience: 'x' },
      'context builderOidcSubject is missing',
    ],
    [
      { builderOidcIssuer: 'https://i.example.com', builderOidcAudience: 'x', builderOidcSubject: 'repo:*' },
      'context builderOidcSubject is "repo:*"; expected text without wildcards',
    ],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of IAM, not of TypeScript
    [{ builderOidcSubject: 'repo:${aws:username}' }, 'context builderOidcSubject is "repo:${aws:username}"'],
  ],
  builderOidcTenant: [
    [
      { builderOidcIssuer: 'https://i.example.com', builderOidcAudience: 'x', builderOidcSubject: 'y' },
      'context builderOidcTenant is missing',
    ],
    [
      {
        builderOidcIssuer: 'https://i.example.com',
        builderOidcAudience: 'x',
        builderOidcSubject: 'y',
        builderOidcTenant: 't_1/../t_2',
      },
      'context builderOidcTenant is "t_1/../t_2"; expected t_ and its id',
    ],
  ],
  alarmEmail: [[{ alarmEmail: 'ops' }, 'context alarmEmail is "ops"; expected an address']],
  alarmJobWaitingS: [
    [
      { alarmJobWaitingS: '59' },
      'context alarmJobWaitingS is "59"; expected a whole number from 60 to 604800',
    ],
  ],
  alarmBuildersSilent: [
    [{ alarmBuildersSilent: '-1' }, 'context alarmBuildersSilent is "-1"; expected a number of builders'],
  ],
  alarmHostsSilentPercent: [
    [{ alarmHostsSilentPercent: '101' }, 'context alarmHostsSilentPercent is "101"; expected a whole number'],
    [{ alarmHostsSilentPercent: '20%' }, 'context alarmHostsSilentPercent is "20%"; expected percent'],
  ],
  alarmExpiryDays: [
    [{ alarmExpiryDays: '0' }, 'context alarmExpiryDays is "0"; expected a whole number from 1 to 90'],
  ],
  alarmKeyAgeDays: [
    [{ alarmKeyAgeDays: 'two years' }, 'context alarmKeyAgeDays is "two years"; expected days'],
  ],
  budgetUsd: [
    [{ budgetUsd: 'much' }, 'context budgetUsd is "much"; expected US dollars'],
    [{ ...GOV, budgetUsd: '5' }, 'context budgetUsd: AWS Budgets does not exist in GovCloud'],
  ],
  logRetentionDays: [[{ logRetentionDays: '7' }, /^context logRetentionDays is "7"; expected one of 30, /]],
  tags: [
    [{ tags: 'a' }, 'context tags is "a"; expected key=value separated by commas'],
    [{ tags: 'aws:a=b' }, 'context tags: aws:, aws-cdk:, application and Name are taken'],
    [{ tags: 'aws-cdk:subnet-type=Public' }, 'context tags: aws:, aws-cdk:, application and Name are taken'],
    [{ tags: 'Name=all' }, 'context tags: aws:, aws-cdk:, application and Name are taken'],
    [{ tags: 'a=1,b=2,a=3' }, 'context tags is "a=1,b=2,a=3"; expected one value for a'],
    [{ tags: 'a=<b>' }, 'context tags is "a=<b>"; expected key=value separated by commas, of letters'],
    [{ tags: 'application=other' }, 'context tags: aws:, aws-cdk:, application and Name are taken'],
    [
      { tags: Array.from({ length: 41 }, (_, index) => `k${index}=v`).join(',') },
      'context tags: more than 40',
    ],
  ],
}

describe.each(Object.entries(HOSTILE))('%s', (_name, rows) => {
  test.each(rows)('%j is refused by one line that names it', (context, says) => {
    expect(() => read(context)).toThrow(ParameterError)
    expect(() => read(context)).toThrow(says)
    expect(() => read(context)).toThrow(/^[^\n]+$/)
  })
})

test('what is not set and has to be is refused by its name', () => {
  const needed = Object.entries(PARAMETERS).filter(([, parameter]) => parameter.default !== undefined)
  expect(needed.length).toBeGreaterThan(20)
  for (const [name] of needed)
    expect(() => read({ [name]: '' })).toThrow(new RegExp(`^context ${name}( is missing: | is "";|:)`))
})

test('a name that is no parameter is refused, and what the CDK says of itself is not', () => {
  expect(() => refuseUnknown(['databaseMultiAZ'])).toThrow(
    'context databaseMultiAZ: no such parameter; infra/README.md lists them',
  )
  const { context } = JSON.parse(file('../cdk.json'))
  expect(() => refuseUnknown([...Object.keys(context), 'aws:cdk:bundling-stacks'])).not.toThrow()
})

describe('what people read of the parameters', () => {
  test('infra/README.md lists each with its default', () => {
    const rows = Object.entries(PARAMETERS).map(
      ([name, { meaning, shape, default: given = '' }]) =>
        `| \`${name}\` | ${meaning} | ${shape} | ${given === '' ? '' : `\`${given}\``} |`,
    )
    const table = file('./README.md')
      .split('\n')
      .filter((line) => /^\| `[a-zA-Z]+` \|/.test(line))
    expect(table, `the table has to be:\n${rows.join('\n')}`).toEqual(rows)
  })

  test('cdk.json holds each with its default', () => {
    const { context } = JSON.parse(file('../cdk.json'))
    const held = Object.entries(context).filter(([name]) => !name.includes(':'))
    expect(Object.fromEntries(held)).toEqual(
      Object.fromEntries(Object.entries(PARAMETERS).map(([name, { default: given = '' }]) => [name, given])),
    )
  })
})
