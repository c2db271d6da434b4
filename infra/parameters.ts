import { PARAMETERS, type ParameterName } from './parameter-table.ts'

/** What a deployment can choose, parsed: every value is within its limits, and no two contradict each other. */
export type Parameters = {
  readonly name: string
  readonly account: string | undefined
  readonly region: string
  readonly availabilityZones: readonly string[]
  readonly vpcCidr: string
  readonly tenantName: string
  readonly exposure: 'public' | 'private'
  readonly clientCidrs: readonly string[]
  readonly publicHost: string | undefined
  readonly certificateArn: string | undefined
  readonly oidc: { readonly issuer: string; readonly audience: string } | undefined
  readonly database: 'rds' | 'aurora'
  readonly databaseClass: string
  readonly databaseStorageGib: number
  readonly databaseMultiAz: boolean
  readonly databaseProxy: boolean
  readonly databaseCaFile: string
  readonly auroraCapacityMax: number
  readonly backupDays: number
  readonly deletionProtection: boolean
  readonly cacheReads: 'credentials' | 'cloudfront'
  readonly cacheKeyName: string
  readonly evidenceLockDays: number
  readonly evidenceLockMode: 'GOVERNANCE' | 'COMPLIANCE'
  readonly nextReportInS: number
  readonly leaseS: number
  readonly builderCaFile: string | undefined
  readonly builderCrlFile: string | undefined
  readonly builderNames: readonly string[]
  readonly builderOidc:
    | {
        readonly issuer: string
        readonly audience: string
        readonly subject: string
        readonly tenant: string
      }
    | undefined
  readonly alarmEmail: string | undefined
  readonly alarmJobWaitingS: number
  readonly alarmBuildersSilent: number
  readonly alarmHostsSilentPercent: number
  readonly alarmExpiryDays: number
  readonly alarmKeyAgeDays: number | undefined
  readonly budgetUsd: number | undefined
  readonly logRetentionDays: number
  readonly tags: Readonly<Record<string, string>>
}

/** A context value that is missing, wrong, or at odds with another one. The message is one line that names it. */
export class ParameterError extends Error {}

/**
 * Reads the context of `cdk.json` and `-c name=value`. `context` answers undefined for what is not set.
 * @throws {ParameterError} for the first value that is wrong
 */
export function readParameters(context: (name: string) => unknown): Parameters {
  const read = reader(context)
  const region = read.text('region', /^[a-z]{2,4}(-[a-z]+)+-[0-9]$/)
  const parameters: Parameters = {
    // No hyphen at the end and no two of them, as RDS wants it; aliases and logs below aws/ are those of AWS.
    name: read.text('name', /^(?=.{2,31}$)(?!aws$)[a-z][a-z0-9]*(-[a-z0-9]+)*$/),
    account: read.optional('account', /^[0-9]{12}$/),
    region,
    availabilityZones: read.list('availabilityZones', /^[a-z0-9-]+$/),
    vpcCidr: read.text('vpcCidr', CIDR),
    tenantName: read.text('tenantName', /^[a-z0-9][a-z0-9-]{0,62}$/),
    exposure: read.oneOf('exposure', ['public', 'private']),
    clientCidrs: read.list('clientCidrs', CIDR),
    publicHost: read.optional('publicHost', HOST),
    certificateArn: read.optional(
      'certificateArn',
      /^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate\/[a-z0-9-]+$/,
    ),
    oidc: readOidc(read),
    database: read.oneOf('database', ['rds', 'aurora']),
    databaseClass: read.text('databaseClass', /^[a-z0-9]+\.[a-z0-9]+$/),
    // A tenth of the largest disk that RDS has, because it may grow to ten times.
    databaseStorageGib: read.whole('databaseStorageGib', 20, 6553),
    databaseMultiAz: read.flag('databaseMultiAz'),
    databaseProxy: read.flag('databaseProxy'),
    databaseCaFile: read.text('databaseCaFile', /^\/[!-~]+$/),
    auroraCapacityMax: read.whole('auroraCapacityMax', 1, 256),
    backupDays: read.whole('backupDays', 1, 35),
    deletionProtection: read.flag('deletionProtection'),
    cacheReads: read.oneOf('cacheReads', ['credentials', 'cloudfront']),
    cacheKeyName: read.text('cacheKeyName', /^[A-Za-z0-9._-]{1,100}$/),
    evidenceLockDays: read.whole('evidenceLockDays', 1, 36_500),
    evidenceLockMode: read.oneOf('evidenceLockMode', ['GOVERNANCE', 'COMPLIANCE']),
    // Twice in the hour after which a host counts as silent.
    nextReportInS: read.whole('nextReportInS', 1, 1800),
    leaseS: read.whole('leaseS', 2, 3600),
    builderCaFile: read.optional('builderCaFile', /./),
    builderCrlFile: read.optional('builderCrlFile', /./),
    builderNames: read.list('builderNames', /^[A-Za-z0-9._-]{1,64}$/),
    builderOidc: readBuilderOidc(read),
    alarmEmail: read.optional('alarmEmail', /^[^@\s]+@[^@\s]+$/),
    alarmJobWaitingS: read.whole('alarmJobWaitingS', 60, 604_800),
    alarmBuildersSilent: read.whole('alarmBuildersSilent', 0, 10_000),
    alarmHostsSilentPercent: read.whole('alarmHostsSilentPercent', 0, 100),
    alarmExpiryDays: read.whole('alarmExpiryDays', 1, 90),
    alarmKeyAgeDays: read.optionalWhole('alarmKeyAgeDays', 1, 3650),
    budgetUsd: read.optionalWhole('budgetUsd', 1, 1_000_000),
    logRetentionDays: read.oneNumberOf('logRetentionDays', RETENTION_DAYS),
    tags: read.pairs('tags'),
  }
  refuseContradictions(parameters)
  return parameters
}

/**
 * The CDK takes whatever name it is given and forgets it, so a mistyped parameter would have its default.
 * @throws {ParameterError} for the first name that is neither a parameter nor a switch of the CDK
 */
export function refuseUnknown(names: readonly string[]): void {
  for (const name of names)
    if (/^[A-Za-z0-9_-]+$/.test(name) && !Object.hasOwn(PARAMETERS, name))
      throw new ParameterError(`context ${name}: no such parameter; infra/README.md lists them`)
}

type Reader = ReturnType<typeof reader>

function readOidc(read: Reader): Parameters['oidc'] {
  const issuer = read.optional('oidcIssuer', ISSUER)
  const audience = read.optional('oidcAudience', /^\S+$/)
  if (issuer === undefined && audience === undefined) return undefined
  if (issuer === undefined) throw missing('oidcIssuer', 'oidcAudience is set')
  if (audience === undefined) throw missing('oidcAudience', 'oidcIssuer is set')
  return { issuer, audience }
}

function readBuilderOidc(read: Reader): Parameters['builderOidc'] {
  // IAM takes no port in the address, and reads * ? and $ in a condition.
  const issuer = read.optional('builderOidcIssuer', /^https:\/\/[A-Za-z0-9.-]+(\/[^\s?#]*)?$/)
  const audience = read.optional('builderOidcAudience', /^[^\s*?$]+$/)
  const subject = read.optional('builderOidcSubject', /^[^\s*?$]+$/)
  const tenant = read.optional('builderOidcTenant', /^t_[A-Za-z0-9]+$/)
  if (issuer === undefined) {
    const rest = { builderOidcAudience: audience, builderOidcSubject: subject, builderOidcTenant: tenant }
    const [given] = Object.entries(rest).find(([, value]) => value !== undefined) ?? []
    if (given !== undefined) throw missing('builderOidcIssuer', `${given} is set`)
    return undefined
  }
  if (audience === undefined) throw missing('builderOidcAudience', 'builderOidcIssuer is set')
  if (subject === undefined) throw missing('builderOidcSubject', 'builderOidcIssuer is set')
  if (tenant === undefined) throw missing('builderOidcTenant', 'builderOidcIssuer is set')
  return { issuer, audience, subject, tenant }
}

function refuseContradictions(parameters: Parameters): void {
  const rules = [placeRules, domainRules, edgeRules, builderRules, databaseRules].flatMap((rulesOf) =>
    rulesOf(parameters),
  )
  for (const [wrong, name, why] of rules) {
    if (wrong) throw new ParameterError(`context ${name}: ${why}`)
  }
}

/** Each is one sentence that an operator can act on. */
type Rule = readonly [wrong: boolean, name: ParameterName, why: string]

function placeRules({ region, availabilityZones, vpcCidr, clientCidrs, tags }: Parameters): readonly Rule[] {
  const zones = new Set(availabilityZones)
  return [
    [
      zones.size !== 2 || availabilityZones.length !== 2,
      'availabilityZones',
      'exactly two zones are used, separated by a comma',
    ],
    [
      availabilityZones.some(
        (zone) => !zone.startsWith(region) || !/^[a-z]$/.test(zone.slice(region.length)),
      ),
      'availabilityZones',
      `not all of them lie in the region ${region}`,
    ],
    [
      !isBlock(vpcCidr, { least: 16, most: 23 }),
      'vpcCidr',
      `${vpcCidr} is no block of /16 to /23, which two subnets of /24 fit into`,
    ],
    [
      /^(0|127|169\.254|2(2[4-9]|[345][0-9]))\./.test(vpcCidr),
      'vpcCidr',
      `${vpcCidr} is no network that machines can have addresses in`,
    ],
    [
      clientCidrs.length > RULES_MAX,
      'clientCidrs',
      `more than ${RULES_MAX} blocks, which a security group does not take; join neighbours`,
    ],
    [
      clientCidrs.some((cidr) => !isBlock(cidr, { least: 8, most: 32 })),
      'clientCidrs',
      'not all of them are blocks of /8 to /32 whose address is their first one',
    ],
    [
      Object.keys(tags).some((key) => /^(aws:|aws-cdk:|application$|name$)/i.test(key)),
      'tags',
      'aws:, aws-cdk:, application and Name are taken; choose other keys',
    ],
    [
      Object.keys(tags).length > TAGS_MAX,
      'tags',
      `more than ${TAGS_MAX}, which not every resource can carry`,
    ],
  ]
}

/** The name that hosts sign, and what vouches for it. */
function domainRules({ account, region, publicHost, certificateArn }: Parameters): readonly Rule[] {
  return [
    [
      (publicHost === undefined) !== (certificateArn === undefined),
      publicHost === undefined ? 'publicHost' : 'certificateArn',
      'a domain needs both publicHost and certificateArn',
    ],
    [
      certificateArn !== undefined && certificateArn.split(':')[3] !== region,
      'certificateArn',
      `the certificate has to lie in the region ${region}`,
    ],
    [
      certificateArn !== undefined && account !== undefined && certificateArn.split(':')[4] !== account,
      'certificateArn',
      `the certificate has to lie in the account ${account}`,
    ],
    [
      certificateArn !== undefined && certificateArn.split(':')[1] !== partitionOf(region),
      'certificateArn',
      `the region ${region} is in the partition ${partitionOf(region)}`,
    ],
  ]
}

function edgeRules(parameters: Parameters): readonly Rule[] {
  const { exposure, publicHost, oidc, clientCidrs, cacheReads, region } = parameters
  return [
    [
      exposure === 'private' && publicHost !== undefined,
      'publicHost',
      'a private API is reached by the name of its endpoint; leave publicHost and certificateArn out',
    ],
    [
      exposure === 'private' && oidc !== undefined,
      'oidcIssuer',
      'a private REST API has no JWT authorizer; operators use tokens there',
    ],
    [
      exposure === 'private' && clientCidrs.length === 0,
      'clientCidrs',
      'exposure is private, and nobody could reach the API; name the networks of hosts, builders and operators',
    ],
    [
      exposure === 'public' && clientCidrs.length > 0,
      'clientCidrs',
      'has no effect while exposure is public; remove it or set exposure=private',
    ],
    [
      exposure === 'private' && cacheReads === 'cloudfront',
      'cacheReads',
      'CloudFront is reachable by everybody, and exposure is private',
    ],
    [
      cacheReads === 'cloudfront' && region.startsWith('us-gov-'),
      'cacheReads',
      'CloudFront does not exist in GovCloud; use credentials',
    ],
    [
      cacheReads === 'cloudfront' && region.startsWith('cn-'),
      'cacheReads',
      'CloudFront in China has no origin access control, which keeps the bucket closed; use credentials',
    ],
    [
      parameters.budgetUsd !== undefined && region.startsWith('us-gov-'),
      'budgetUsd',
      'AWS Budgets does not exist in GovCloud; watch the cost from the paired commercial account',
    ],
  ]
}

function builderRules({ builderCaFile, builderCrlFile, builderNames }: Parameters): readonly Rule[] {
  return [
    [
      builderCrlFile !== undefined && builderCaFile === undefined,
      'builderCaFile',
      'a revocation list needs the authority that it belongs to',
    ],
    [
      builderCaFile !== undefined && builderNames.length === 0,
      'builderNames',
      'name the subjects (CN) of the certificates that builders may use',
    ],
    [
      builderCaFile === undefined && builderNames.length > 0,
      'builderNames',
      'has no effect without builderCaFile, whose certificates it names',
    ],
  ]
}

/** A choice that would be ignored is a choice that somebody believes in. */
function databaseRules(parameters: Parameters): readonly Rule[] {
  const changed = (name: ParameterName, value: unknown): boolean => String(value) !== PARAMETERS[name].default
  const { database, databaseClass, databaseStorageGib, auroraCapacityMax } = parameters
  const aurora = database === 'aurora'
  return [
    [
      !/^(t3|t4g|[mr][5-8][a-z]*)\./.test(databaseClass),
      'databaseClass',
      `${databaseClass} is of no family that RDS has for Postgres 18 (t3, t4g, m5 to m8, r5 to r8)`,
    ],
    [
      aurora && changed('databaseClass', databaseClass),
      'databaseClass',
      'has no effect with database=aurora, which is sized by auroraCapacityMax',
    ],
    [
      aurora && changed('databaseStorageGib', databaseStorageGib),
      'databaseStorageGib',
      'has no effect with database=aurora, whose storage has no size',
    ],
    [
      !aurora && changed('auroraCapacityMax', auroraCapacityMax),
      'auroraCapacityMax',
      'has no effect with database=rds, which is sized by databaseClass',
    ],
  ]
}

/** As ARNs in the region begin; unknown kinds of regions are taken for commercial ones. */
function partitionOf(region: string): string {
  const kinds = {
    'us-gov-': 'aws-us-gov',
    'cn-': 'aws-cn',
    'eusc-': 'aws-eusc',
    'us-iso-': 'aws-iso',
    'us-isob-': 'aws-iso-b',
  }
  return Object.entries(kinds).find(([start]) => region.startsWith(start))?.[1] ?? 'aws'
}

/** An IPv4 network in CIDR notation, with nothing set behind the prefix. */
function isBlock(cidr: string, { least, most }: { least: number; most: number }): boolean {
  const [address = '', length = ''] = cidr.split('/')
  const prefix = Number(length)
  const parts = address.split('.').map(Number)
  if (prefix < least || prefix > most || parts.some((part) => part > 255)) return false
  const number = parts.reduce((sum, part) => sum * 256 + part, 0)
  return number % 2 ** (32 - prefix) === 0
}

/** Reads single values; what is not set gets the default of the table. */
function reader(context: (name: string) => unknown) {
  const raw = (name: ParameterName): string => {
    const value = context(name) ?? PARAMETERS[name].default ?? ''
    return typeof value === 'string' ? value : JSON.stringify(value)
  }
  const refuse = (name: ParameterName, expected: string): ParameterError =>
    new ParameterError(`context ${name} is ${JSON.stringify(raw(name))}; expected ${expected}`)
  const optional = (name: ParameterName, shape: RegExp): string | undefined => {
    const value = raw(name)
    if (value === '') return undefined
    if (!shape.test(value)) throw refuse(name, PARAMETERS[name].shape)
    return value
  }
  const text = (name: ParameterName, shape: RegExp): string => {
    const value = optional(name, shape)
    if (value === undefined) throw missing(name, PARAMETERS[name].shape)
    return value
  }
  const whole = (name: ParameterName, least: number, most: number): number => {
    const number = Number(text(name, /^[0-9]{1,9}$/))
    if (number < least || number > most) throw refuse(name, `a whole number from ${least} to ${most}`)
    return number
  }
  const optionalWhole = (name: ParameterName, least: number, most: number): number | undefined =>
    optional(name, /./) === undefined ? undefined : whole(name, least, most)
  const oneOf = <Choice extends string>(name: ParameterName, choices: readonly Choice[]): Choice => {
    const choice = choices.find((candidate) => candidate === raw(name))
    if (choice === undefined) throw refuse(name, `one of ${choices.join(', ')}`)
    return choice
  }
  const oneNumberOf = (name: ParameterName, choices: readonly number[]): number => {
    const number = choices.find((candidate) => String(candidate) === raw(name))
    if (number === undefined) throw refuse(name, `one of ${choices.join(', ')}`)
    return number
  }
  const list = (name: ParameterName, shape: RegExp): readonly string[] => {
    const items = raw(name)
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
    if (items.some((item) => !shape.test(item))) throw refuse(name, PARAMETERS[name].shape)
    return items
  }
  const pairs = (name: ParameterName): Readonly<Record<string, string>> =>
    Object.fromEntries(
      list(name, /^[A-Za-z0-9_.:/+@-]{1,128}=[A-Za-z0-9 _.:/+@-]{0,256}$/).map((pair, index, all) => {
        const [key = '', value = ''] = pair.split('=')
        if (all.findIndex((other) => other.startsWith(`${key}=`)) !== index)
          throw refuse(name, `one value for ${key}`)
        return [key, value]
      }),
    )
  const flag = (name: ParameterName): boolean => oneOf(name, ['true', 'false']) === 'true'
  return { optional, text, whole, optionalWhole, oneOf, oneNumberOf, list, pairs, flag }
}

function missing(name: ParameterName, because: string): ParameterError {
  return new ParameterError(`context ${name} is missing: ${because}; set it with -c ${name}=...`)
}

const CIDR = /^(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}\/[0-9]{1,2}$/
const ISSUER = /^https:\/\/[A-Za-z0-9.-]+(:[0-9]+)?(\/[^\s?#]*)?$/
/** Of a security group, unless its quota was raised. */
const RULES_MAX = 60
/** What is left of the fifty of a resource when CDK and we took ours. */
const TAGS_MAX = 40
const HOST = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/
/** What CloudWatch Logs accepts, as far as it makes sense here. */
const RETENTION_DAYS = [30, 60, 90, 120, 180, 365, 400, 545, 731, 1827, 3653]
