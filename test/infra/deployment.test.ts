import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { HINT_RECEIVES_MAX } from '../../functions/builder-jobs/config.ts'
import type { Environment } from '../../functions/environment.ts'
import { ROUTES } from '../../functions/routes.ts'
import { RUNBOOK_SECTIONS } from '../../infra/alarms.ts'
import { CONCURRENCY, connectionsNeeded, databaseConnections } from '../../infra/capacity.ts'
import { goldenFiles } from '../../scripts/golden-templates.ts'
import {
  openToEverybody,
  policiesOfAws,
  turnedAround,
  wildcardsWithoutReason,
  withoutAccount,
} from './least-privilege.ts'
import {
  listOf,
  type Resource,
  root,
  type Synthesized,
  sorted,
  statements,
  synthesize,
} from './synthesized.ts'

let made: Synthesized
beforeAll(async () => {
  made = await synthesize()
}, 120_000)

const text = (value: unknown): string => JSON.stringify(value)

describe('the database', () => {
  test('has no path from or to the internet', () => {
    for (const type of ['InternetGateway', 'NatGateway', 'EgressOnlyInternetGateway', 'EIP'])
      expect(made.ofType(`AWS::EC2::${type}`)).toEqual([])
    for (const [, { Properties }] of made.ofType('AWS::EC2::Subnet'))
      expect(Properties['MapPublicIpOnLaunch']).toBe(false)
    const database = made.only('AWS::RDS::DBInstance')
    expect(database.Properties['PubliclyAccessible']).toBe(false)
    const open = [...made.ofType('AWS::EC2::SecurityGroup'), ...made.ofType('AWS::EC2::SecurityGroupIngress')]
      .flatMap(([id, { Type, Properties }]) =>
        Type.endsWith('Ingress')
          ? [[id, Properties]]
          : listOf(Properties['SecurityGroupIngress']).map((rule) => [id, rule]),
      )
      .filter(([, rule]) => text(rule).includes('CidrIp'))
    expect(open).toEqual([])
  })

  test('is encrypted, logs people in by IAM, is restorable and cannot be deleted by accident', () => {
    const database = made.only('AWS::RDS::DBInstance')
    expect(database.Properties).toMatchObject({
      EnableIAMDatabaseAuthentication: true,
      StorageEncrypted: true,
      DeletionProtection: true,
      MultiAZ: true,
      EnablePerformanceInsights: true,
      BackupRetentionPeriod: 35,
      ManageMasterUserPassword: true,
    })
    expect(database.Properties).not.toHaveProperty('MasterUserPassword')
    expect(database.DeletionPolicy).toBe('Snapshot')
    const settings = made.only('AWS::RDS::DBParameterGroup')
    expect(settings.Properties['Parameters']).toMatchObject({
      'rds.force_ssl': '1',
      jit: '0',
      log_connections: '1',
      log_disconnections: '1',
    })
  })

  test('takes new minor versions by itself, which the template does not undo', () => {
    expect(made.only('AWS::RDS::DBInstance').Properties).toMatchObject({
      AutoMinorVersionUpgrade: true,
      EngineVersion: '18',
    })
  })

  test('is never replaced by an empty one, and the password of its owner is encrypted with our key', () => {
    const { Properties } = made.only('AWS::RDS::DBInstance')
    expect(Properties['DBInstanceIdentifier']).toBe('crystal-forge')
    expect(Properties['MasterUserSecret']).toEqual({ KmsKeyId: Properties['KmsKeyId'] })
  })

  test('is shown on the dashboard with what it measures', () => {
    const shown = text(made.only('AWS::CloudWatch::Dashboard').Properties['DashboardBody'])
    // Metrics of Aurora, which an instance does not have.
    expect(/CommitLatency|FreeLocalStorage/.exec(shown)).toBeNull()
    expect(shown).toContain('WriteLatency')
  })

  test('has a connection for every instance that may run', () => {
    const reserved = [...functions(made)].map(([, one]) =>
      Number(one.Properties['ReservedConcurrentExecutions']),
    )
    expect(reserved.every((one) => one > 0)).toBe(true)
    const sum = reserved.reduce((total, one) => total + one, 0)
    expect(sum).toBe(Object.values(CONCURRENCY).reduce((total, one) => total + one, 0))
    expect(connectionsNeeded()).toBeLessThanOrEqual(databaseConnections('t4g.micro') ?? 0)
  })
})

describe('every queue', () => {
  test('has a dead-letter queue or is one, and rings when something was put aside', () => {
    const queues = made.ofType('AWS::SQS::Queue')
    const alarms = made.ofType('AWS::CloudWatch::Alarm').map(([, alarm]) => text(alarm))
    const targets = queues.flatMap(([, { Properties }]) => listOf(Properties['RedrivePolicy'])).map(text)
    const ofFunctions = [...functions(made)].map(([, one]) => text(one.Properties['DeadLetterConfig'] ?? ''))
    for (const [name, queue] of queues) {
      const id = name.split('/')[1] ?? ''
      const dead = [...targets, ...ofFunctions].some((target) => target.includes(`"${id}"`))
      expect([name, dead || queue.Properties['RedrivePolicy'] !== undefined]).toEqual([name, true])
      expect([name, alarms.some((alarm) => alarm.includes(`"${id}"`))]).toEqual([name, true])
    }
    expect(queues.length).toBeGreaterThanOrEqual(12)
  })

  test('of jobs puts a hint aside after as many tries as the server on one machine does', () => {
    const tries = made
      .ofType('AWS::SQS::Queue')
      .filter(([, { Properties }]) => /-(resolve|evaluate|build|scan)$/.test(String(Properties['QueueName'])))
      .map(([, { Properties }]) => Object(Properties['RedrivePolicy']).maxReceiveCount)
    expect(tries).toEqual([1, 2, 3, 4].map(() => HINT_RECEIVES_MAX))
  })

  test('hides a message more than six times as long as its function may run', () => {
    const mappings = made.ofType('AWS::Lambda::EventSourceMapping')
    expect(mappings.length).toBe(1)
    for (const [, { Properties }] of mappings) {
      const queue = referred(made, Properties['EventSourceArn'])
      const fn = referred(made, Properties['FunctionName'])
      expect(Number(queue.Properties['VisibilityTimeout'])).toBeGreaterThan(
        Number(fn.Properties['Timeout']) * 6,
      )
    }
  })
})

describe('every function', () => {
  test('runs on Node 24 on ARM, in the VPC, with a role and a log of its own', () => {
    const all = [...functions(made)].map(([, one]) => one)
    expect(all.length).toBe(Object.keys(CONCURRENCY).length)
    for (const { Properties } of all) {
      expect(Properties).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        Handler: 'index.handler',
      })
      // Two zones, so that the loss of one takes no function away.
      expect(Properties['VpcConfig']).toMatchObject({
        SubnetIds: [expect.anything(), expect.anything()],
        SecurityGroupIds: expect.arrayContaining([expect.anything()]),
      })
      expect(Number(Properties['Timeout'])).toBeLessThanOrEqual(900)
    }
    expect(new Set(all.map(({ Properties }) => text(Properties['Role']))).size).toBe(all.length)
    expect(new Set(all.map(({ Properties }) => text(Properties['LoggingConfig']))).size).toBe(all.length)
  })

  test('that answers requests ends before API Gateway gives up', () => {
    const http = new Set(ROUTES.map((route) => route.function))
    for (const name of http) expect(Number(functions(made).get(name)?.Properties['Timeout'])).toBeLessThan(30)
  })

  test.each(
    globSync('functions/*/config.ts', { cwd: root }).map((file) => path.basename(path.dirname(file))),
  )('gets exactly the variables that %s reads', async (name) => {
    const config: {
      readonly VARIABLES: readonly string[]
      readonly readConfig: (environment: Environment) => unknown
    } = await import(`../../functions/${name}/config.ts`)
    const given = Object.keys(environmentOf(made, name))
    expect(sorted(given)).toEqual(sorted([...new Set(config.VARIABLES)]))
    const read = new Set<string>()
    const environment = new Proxy<Environment>(
      { ...environmentOf(made, name), AWS_REGION: 'eu-test-1' },
      {
        get: (target, key) => {
          read.add(String(key))
          return target[String(key)]
        },
      },
    )
    expect(() => config.readConfig(environment)).not.toThrow()
    expect(given.filter((variable) => !read.has(variable))).toEqual([])
  })

  test.each(['DATABASE_HOST', 'RELAY_QUEUE_URL'])(
    'that starts without %s says so or does without it',
    async (variable) => {
      const { readConfig } = await import('../../functions/webhooks/config.ts')
      const environment = {
        ...environmentOf(made, 'webhooks'),
        AWS_REGION: 'eu-test-1',
        [variable]: undefined,
      }
      if (variable === 'RELAY_QUEUE_URL') expect(readConfig(environment).relayQueue).toBeUndefined()
      else expect(() => readConfig(environment)).toThrow(/DATABASE_HOST is not set/)
    },
  )
})

test('every route of the table is there, says who checks its caller, and is throttled', () => {
  const routes = made.ofType('AWS::ApiGatewayV2::Route').map(([, { Properties }]) => Properties)
  expect(sorted(routes.map((route) => route['RouteKey']))).toEqual(sorted(ROUTES.map(({ key }) => key)))
  expect(new Set(routes.map((route) => route['AuthorizationType']))).toEqual(new Set(['NONE']))
  const stage = made.only('AWS::ApiGatewayV2::Stage')
  const settings = stage.Properties['RouteSettings']
  expect(sorted(Object.keys(Object(settings)))).toEqual(sorted(ROUTES.map(({ key }) => key)))
})

describe('rights', () => {
  test('name their actions and resources; a wildcard stands beside its reason', () => {
    expect(wildcardsWithoutReason(made)).toEqual([])
    expect(turnedAround(made)).toEqual([])
    expect(policiesOfAws(made)).toEqual([])
  })

  test('are never for everybody, and services of AWS use them for this account only', () => {
    expect(openToEverybody(made)).toEqual([])
    expect(withoutAccount(made)).toEqual([])
  })

  test('let each function log in as its own database role and no other', () => {
    const roles = new Map(
      statements(made)
        .filter(({ statement }) => listOf(statement.Action).includes('rds-db:connect'))
        .map(
          ({ id, statement }) =>
            [id.split('/')[1], /cf_[a-z]+/g.exec(text(statement.Resource))?.[0]] as const,
        ),
    )
    const byFunction = Object.fromEntries(
      [...functions(made).keys()].map((name) => [
        name,
        [...roles].find(([id]) => id?.startsWith(name.replaceAll('-', '')))?.[1],
      ]),
    )
    expect(byFunction).toEqual({
      'agent-reports': 'cf_ingest',
      'agent-keys': 'cf_enroll',
      'original-wire': 'cf_ingest',
      webhooks: 'cf_hooks',
      'builder-jobs': 'cf_builders',
      'builder-cache': 'cf_cache',
      'operator-api': 'cf_operators',
      'controls-api': 'cf_controls',
      status: 'cf_status',
      'relay-outbox': 'cf_scheduler',
      sweep: 'cf_scheduler',
      migrations: undefined,
      'first-secrets': undefined,
    })
  })

  test.each([
    ['NarinfoKey', ['buildercache']],
    ['JobSigningKey', ['builderjobs']],
    ['ExportSigningKey', ['controlsapi']],
    ['SealingKey', ['operatorapi', 'webhooks']],
    ['AdminToken', ['migrations']],
  ])('let %s be read by %j only', (secret, readers) => {
    const found = statements(made)
      .filter(({ statement }) => listOf(statement.Action).includes('secretsmanager:GetSecretValue'))
      .filter(({ statement }) => text(statement.Resource).includes(`Ref${secret}`))
      .map(({ id }) => id.split('/')[1]?.replace(/Policy[0-9A-F]+$/, ''))
    expect(sorted(found)).toEqual(readers)
  })

  test('to read the cache are a policy for hosts, which reads what belongs to the tenant of their role', () => {
    const [policy] = made
      .ofType('AWS::IAM::ManagedPolicy')
      .filter(([, { Properties }]) => Properties['ManagedPolicyName'] === 'crystal-forge-cache-reader')
    const [reads, ...more] = statements(made).filter(({ id }) => id === policy?.[0])
    expect(more).toEqual([])
    expect(reads?.statement).toMatchObject({ Effect: 'Allow', Action: 's3:GetObject' })
    const keys = listOf<unknown>(reads?.statement.Resource).map((one) => Object(one)['Fn::Join'][1].at(-1))
    expect(keys).toEqual(
      ['nar/*', '*.narinfo', 'nix-cache-info'].map((name) => `/\${aws:PrincipalTag/cf-tenant}/${name}`),
    )
    // It is given to nobody here.
    expect(policy?.[1].Properties).not.toHaveProperty('Roles')
  })

  test('to assume a role belong to services and never to everybody', () => {
    const trusted = [...made.ofType('AWS::IAM::Role')].map(([, { Properties }]) =>
      text(Properties['AssumeRolePolicyDocument']),
    )
    expect(trusted.filter((document) => document.includes('"*"'))).toEqual([])
  })
})

describe('every bucket', () => {
  test('is closed to the public, versioned, kept, and reached by TLS only', () => {
    const buckets = made.ofType('AWS::S3::Bucket')
    expect(buckets.length).toBe(3)
    for (const [, { Properties, DeletionPolicy }] of buckets) {
      expect(Properties['PublicAccessBlockConfiguration']).toEqual({
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      })
      expect(Properties['VersioningConfiguration']).toEqual({ Status: 'Enabled' })
      expect(DeletionPolicy).toBe('RetainExceptOnCreate')
    }
    const denied = statements(made).filter(
      ({ statement }) =>
        statement.Effect === 'Deny' && text(statement.Condition ?? {}).includes('aws:SecureTransport'),
    )
    expect(denied.filter(({ resource }) => resource.Type === 'AWS::S3::BucketPolicy').length).toBe(3)
  })

  test('of the cache moves what nobody fetches to cheaper tiers, which answer as fast', () => {
    const rules = made
      .ofType('AWS::S3::Bucket')
      .filter(([id]) => id.includes('/Cache'))
      .flatMap(([, { Properties }]) => listOf<object>(Object(Properties['LifecycleConfiguration']).Rules))
    expect(rules).toContainEqual({
      Status: 'Enabled',
      Transitions: [{ StorageClass: 'INTELLIGENT_TIERING', TransitionInDays: 0 }],
    })
  })

  test('of evidence is locked', () => {
    const locked = made
      .ofType('AWS::S3::Bucket')
      .filter(([, { Properties }]) => Properties['ObjectLockEnabled'] === true)
    expect(locked.length).toBe(1)
    expect(locked[0]?.[1].Properties['ObjectLockConfiguration']).toMatchObject({
      Rule: { DefaultRetention: { Days: 365, Mode: 'GOVERNANCE' } },
    })
  })
})

describe('every alarm', () => {
  test('tells somebody and names the section of the runbook that says what to do', () => {
    const sections = made.ofType('AWS::CloudWatch::Alarm').map(([id, { Properties }]) => {
      expect([id, listOf(Properties['AlarmActions']).length]).toEqual([id, 1])
      return /docs\/runbook\.md#([a-z0-9-]+)$/.exec(String(Properties['AlarmDescription']))?.[1]
    })
    const known: readonly (string | undefined)[] = RUNBOOK_SECTIONS
    expect(sections.filter((section) => !known.includes(section))).toEqual([])
    expect(known.filter((section) => section !== 'budget' && !sections.includes(section))).toEqual([])
  })

  test('reaches the topic: its policy lets CloudWatch write, and so does the policy of the key that encrypts it', () => {
    const topic = made.only('AWS::SNS::Topic')
    const mayPublish = statements(made).filter(
      ({ resource, statement }) =>
        resource.Type === 'AWS::SNS::TopicPolicy' &&
        statement.Effect === 'Allow' &&
        isCloudWatch(statement.Principal),
    )
    expect(mayPublish.map(({ statement }) => statement)).toEqual([
      expect.objectContaining({
        Action: 'sns:Publish',
        Condition: {
          StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } },
          ArnLike: { 'aws:SourceArn': expect.anything() },
        },
      }),
    ])
    const key = text(topic.Properties['KmsMasterKeyId'])
    const mayEncrypt = statements(made).filter(
      ({ id, resource, statement }) =>
        resource.Type === 'AWS::KMS::Key' &&
        key.includes(id.split('/')[1] ?? '?') &&
        isCloudWatch(statement.Principal),
    )
    expect(mayEncrypt.map(({ statement }) => statement.Action)).toEqual([
      ['kms:Decrypt', 'kms:GenerateDataKey'],
    ])
  })

  test('leads to a section that is there', (context) => {
    const runbook = path.join(root, 'docs/runbook.md')
    if (!existsSync(runbook)) context.skip('docs/runbook.md is not written yet')
    const anchors = [...readFileSync(runbook, 'utf8').matchAll(/^##+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    )
    expect(RUNBOOK_SECTIONS.filter((section) => !anchors.includes(section))).toEqual([])
  })
})

describe('every log', () => {
  const groups = () => made.ofType('AWS::Logs::LogGroup')

  test('is encrypted with our key, ends some day, and outlives its stack', () => {
    for (const [id, { Properties, DeletionPolicy }] of groups())
      expect([
        id,
        Properties['RetentionInDays'],
        Properties['KmsKeyId'] !== undefined,
        DeletionPolicy,
      ]).toEqual([id, 365, true, 'RetainExceptOnCreate'])
  })

  test('of every function is one of them, also of those that CDK brings', () => {
    const all = made.ofType('AWS::Lambda::Function')
    expect(all.length).toBe(Object.keys(CONCURRENCY).length + 2)
    for (const [id, { Properties }] of all) {
      const group = Object(Properties['LoggingConfig']).LogGroup
      expect([id, groups().some(([name]) => name.split('/')[1] === Object(group).Ref)]).toEqual([id, true])
    }
  })

  test('of the database is made before RDS makes it, without end and without our key', () => {
    const { Properties, DependsOn } = made.only('AWS::RDS::DBInstance')
    for (const log of listOf(Properties['EnableCloudwatchLogsExports'])) {
      const [group] = groups().filter(
        ([, one]) => one.Properties['LogGroupName'] === `/aws/rds/instance/crystal-forge/${log}`,
      )
      expect(listOf(DependsOn)).toContain(group?.[0].split('/')[1])
    }
  })

  test('of a function holds all that it says and what fails, not three lines of Lambda for each request', () => {
    for (const [, { Properties }] of functions(made))
      expect(Properties['LoggingConfig']).toMatchObject({
        LogFormat: 'JSON',
        SystemLogLevel: 'WARN',
        // The measurements that alarms read are written as `debug`.
        ApplicationLogLevel: 'TRACE',
      })
  })

  test('of accesses is gone when it has ended, with its old versions', () => {
    const rules = made
      .ofType('AWS::S3::Bucket')
      .filter(([id]) => id.includes('AccessLogs'))
      .flatMap(([, { Properties }]) => listOf(Object(Properties['LifecycleConfiguration']).Rules))
    expect(rules).toEqual([
      { ExpirationInDays: 365, NoncurrentVersionExpiration: { NoncurrentDays: 1 }, Status: 'Enabled' },
    ])
  })
})

test('a first deployment that failed can be repeated: nothing with a name of its own is left behind by it', () => {
  const left = [...made.resources].filter(([, { DeletionPolicy }]) => DeletionPolicy === 'Retain')
  expect(left.map(([id]) => id)).toEqual([])
  const kept = [...made.resources].filter(
    ([, { DeletionPolicy }]) => DeletionPolicy === 'RetainExceptOnCreate',
  )
  expect(new Set(kept.map(([, { Type }]) => Type))).toEqual(
    new Set([
      'AWS::KMS::Key',
      'AWS::Logs::LogGroup',
      'AWS::S3::Bucket',
      // Without it a bucket that is kept would answer over plain HTTP.
      'AWS::S3::BucketPolicy',
      'AWS::SecretsManager::Secret',
    ]),
  )
})

test('keys that encrypt rotate, and the one for orders signs Ed25519', () => {
  const keys = made.ofType('AWS::KMS::Key').map(([, { Properties }]) => Properties)
  expect(keys.filter((key) => key['EnableKeyRotation'] === true).length).toBe(2)
  expect(keys.filter((key) => key['KeySpec'] === 'ECC_NIST_EDWARDS25519').length).toBe(1)
})

test('the command line of the CDK adds nothing to what was reviewed', async () => {
  const asked = { 'aws:cdk:enable-path-metadata': 'true', 'aws:cdk:enable-asset-metadata': 'true' }
  expect((await synthesize(asked)).text).not.toMatch(/aws:(cdk|asset):path/)
})

test('the templates are those under review', async () => {
  const stale = (await goldenFiles(root))
    .filter((file) => !existsSync(file.path) || readFileSync(file.path, 'utf8') !== file.text)
    .map((file) => path.relative(root, file.path))
  expect(stale, 'review the change, then repair with: npm run synth -- --update').toEqual([])
})

/** Our functions, by the name of their folder. */
function functions({ ofType }: Synthesized): Map<string, Resource> {
  return new Map(
    ofType('AWS::Lambda::Function').flatMap(([, one]) => {
      const name = one.Properties['FunctionName']
      return typeof name === 'string' ? [[name.replace('crystal-forge-', ''), one] as const] : []
    }),
  )
}

/** What a function gets, with something in the place of what only CloudFormation knows. */
function environmentOf(deployment: Synthesized, name: string): Record<string, string> {
  const environment = functions(deployment).get(name)?.Properties['Environment']
  const variables: Record<string, unknown> =
    typeof environment === 'object' && environment !== null && 'Variables' in environment
      ? Object(environment.Variables)
      : {}
  return Object.fromEntries(
    Object.entries(variables).map(([key, value]) => {
      if (typeof value === 'string') return [key, value]
      return [key, key === 'DATABASE_PORT' ? '5432' : 'made-by-cloudformation']
    }),
  )
}

function isCloudWatch(principal: unknown): boolean {
  return text(principal ?? {}).includes('"cloudwatch.amazonaws.com"')
}

function referred({ resources }: Synthesized, reference: unknown): Resource {
  const found = [...resources].find(([name]) => text(reference).includes(`"${name.split('/')[1]}"`))?.[1]
  if (found === undefined) throw new Error(`nothing is called ${text(reference)}`)
  return found
}
