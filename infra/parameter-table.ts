/** One thing that a deployment can choose by context. `README.md` lists them all, and a test holds it against this. */
export type Parameter = {
  readonly meaning: string
  /** What a value looks like, for people. */
  readonly shape: string
  /** Absent: it may stay unset. */
  readonly default?: string
}

const TABLE = {
  name: {
    meaning: 'prefix of stacks, functions, queues and secrets',
    shape: 'a lower-case name',
    default: 'crystal-forge',
  },
  account: { meaning: 'account that is deployed to; unset: that of the credentials', shape: 'twelve digits' },
  region: { meaning: 'region of everything', shape: 'a region, such as us-gov-west-1', default: 'us-east-1' },
  availabilityZones: {
    meaning: 'the two zones; given, because looking them up needs an account',
    shape: 'two zones of the region, separated by a comma',
    default: 'us-east-1a,us-east-1b',
  },
  vpcCidr: {
    meaning: 'addresses of the VPC',
    shape: 'a block such as 10.20.0.0/20, /16 to /23',
    default: '10.20.0.0/20',
  },
  tenantName: {
    meaning: 'name of the first tenant',
    shape: 'lower-case letters, digits and hyphens',
    default: 'main',
  },
  exposure: {
    meaning: 'public: an HTTP API; private: a REST API behind an endpoint in the VPC',
    shape: 'public or private',
    default: 'public',
  },
  clientCidrs: {
    meaning: 'networks that may reach a private API',
    shape: 'blocks separated by commas, such as 10.0.0.0/8',
  },
  publicHost: {
    meaning: 'own domain of the API, which hosts sign',
    shape: 'a host name such as api.example.com',
  },
  certificateArn: {
    meaning: 'certificate of publicHost in ACM, in the same region',
    shape: 'the ARN of a certificate',
  },
  oidcIssuer: {
    meaning: 'operators come with a JWT of this issuer instead of a token of ours',
    shape: 'an https address',
  },
  oidcAudience: { meaning: 'audience of those JWTs', shape: 'a client id' },
  database: { meaning: 'rds: one instance; aurora: Serverless v2', shape: 'rds or aurora', default: 'rds' },
  databaseClass: {
    meaning: 'class of the instance',
    shape: 'a class such as t4g.small',
    default: 't4g.micro',
  },
  databaseStorageGib: {
    meaning: 'storage at the start; grows to ten times',
    shape: 'GiB, 20 to 6553',
    default: '20',
  },
  databaseMultiAz: { meaning: 'a standby in the other zone', shape: 'true or false', default: 'true' },
  databaseProxy: {
    meaning: 'functions connect through RDS Proxy, for more instances than connections',
    shape: 'true or false',
    default: 'false',
  },
  databaseCaFile: {
    meaning: 'authorities that vouch for the database, as a file in the Lambda runtime',
    shape: 'an absolute path',
    default: '/var/runtime/ca-cert.pem',
  },
  auroraCapacityMax: {
    meaning: 'largest size of Aurora',
    shape: 'capacity units (ACU), 1 to 256',
    default: '4',
  },
  backupDays: { meaning: 'how far back the database can be restored', shape: 'days, 1 to 35', default: '35' },
  deletionProtection: {
    meaning: 'refuse to delete the database; buckets and keys are kept in any case',
    shape: 'true or false',
    default: 'true',
  },
  cacheReads: {
    meaning: 'how hosts read the cache: s3:// with their own credentials, or a CloudFront distribution',
    shape: 'credentials or cloudfront',
    default: 'credentials',
  },
  cacheKeyName: {
    meaning: 'name in front of the public key of the cache',
    shape: 'letters, digits, dots, hyphens',
    default: 'crystal-forge-1',
  },
  evidenceLockDays: { meaning: 'Object Lock of the evidence bucket', shape: 'days', default: '365' },
  evidenceLockMode: {
    meaning: 'COMPLIANCE: nobody can shorten it, not even the root user',
    shape: 'GOVERNANCE or COMPLIANCE',
    default: 'GOVERNANCE',
  },
  nextReportInS: {
    meaning:
      'pause between two reports of a host that does not change; changes are reported at once, and it counts as silent after an hour',
    shape: 'seconds, at most 1800',
    default: '600',
  },
  leaseS: { meaning: 'silence after which a job is taken from its builder', shape: 'seconds', default: '60' },
  builderCaFile: {
    meaning: 'authority of the certificates of builders (PEM); makes the stack for IAM Roles Anywhere',
    shape: 'a file',
  },
  builderCrlFile: { meaning: 'its revocation list (PEM)', shape: 'a file' },
  builderNames: {
    meaning: 'subjects (CN) of the certificates that are accepted',
    shape: 'names separated by commas',
  },
  builderOidcIssuer: { meaning: 'instead of certificates: tokens of this issuer', shape: 'an https address' },
  builderOidcAudience: { meaning: 'audience of those tokens', shape: 'text' },
  builderOidcSubject: { meaning: 'their subject, in full', shape: 'text without wildcards' },
  builderOidcTenant: { meaning: 'tenant whose part of the cache they may write', shape: 't_ and its id' },
  alarmEmail: { meaning: 'who is told of alarms; confirm the first mail', shape: 'an address' },
  alarmJobWaitingS: {
    meaning: 'alarm when a job that may run was taken by nobody for longer',
    shape: 'seconds, 60 to 604800',
    default: '3600',
  },
  alarmBuildersSilent: {
    meaning: 'alarm when more builders than this have said nothing for 15 minutes',
    shape: 'a number of builders',
    default: '0',
  },
  alarmHostsSilentPercent: {
    meaning: 'alarm when a larger share of the hosts has not reported for an hour; 100: never',
    shape: 'percent',
    default: '20',
  },
  alarmExpiryDays: {
    meaning: 'alarm so long before a certificate, revocation list or token ends',
    shape: 'days, 1 to 90',
    default: '14',
  },
  alarmKeyAgeDays: {
    meaning: 'alarm when a host or builder signs with an older key; unset: keys may grow old',
    shape: 'days',
  },
  budgetUsd: { meaning: 'monthly cost at which an alarm is sent', shape: 'US dollars' },
  logRetentionDays: {
    meaning: 'how long logs are kept',
    shape: 'days, one of those that CloudWatch knows',
    default: '365',
  },
  tags: {
    meaning: 'tags on everything, besides the name',
    shape: 'key=value separated by commas, of letters, digits, spaces and _ . : / + @ -',
  },
} as const satisfies Readonly<Record<string, Parameter>>

export type ParameterName = keyof typeof TABLE

export const PARAMETERS: Readonly<Record<ParameterName, Parameter>> = TABLE
