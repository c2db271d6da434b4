import { jsonLog } from '@crystal-forge/functions/log.ts'
import { COUNTED as RELAYED, type Relayed } from '@crystal-forge/functions/relay-outbox/relay.ts'
import { COUNTED as SWEPT, type Swept } from '@crystal-forge/functions/sweep/sweep.ts'
import { WATCHED, type Watched, watch } from '@crystal-forge/functions/sweep/watch.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { listOf, type Resource, type Synthesized, synthesize } from './synthesized.ts'

let made: Synthesized
let database: TestDatabase
beforeAll(async () => {
  made = await synthesize({
    alarmKeyAgeDays: '730',
    certificateArn: CERTIFICATE,
    publicHost: 'api.example.com',
  })
  database = await createTestDatabase()
}, 120_000)
afterAll(() => database.drop())

const CERTIFICATE = 'arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000'

describe('an alarm on a metric of ours', () => {
  test('asks for one that its function writes, under the name that it is deployed with', () => {
    const written = { sweep: [...SWEPT, ...WATCHED], 'relay-outbox': [...RELAYED] }
    const expected = Object.entries(written).flatMap(([program, names]) =>
      names.map((name) => JSON.stringify(metricOf(program, name))),
    )
    const asked = ownAlarms(made).map(({ Properties }) => JSON.stringify(identity(Properties)))
    expect(asked.filter((one) => !expected.includes(one))).toEqual([])
    expect(asked.length).toBe(11)
  })

  test('is one for each thing that is watched, where it can exist', () => {
    const names = ownAlarms(made).map(({ Properties }) => Properties['MetricName'])
    // There is no revocation list in this deployment.
    expect(WATCHED.filter((name) => !names.includes(name))).toEqual(['revocationListDaysLeft'])
    // A metric that no alarm reads costs as much as three alarms.
    expect([...RELAYED, ...SWEPT].filter((name) => !names.includes(name))).toEqual([])
  })
})

test('what the dashboard asks the log of a function for is in the lines that it writes', () => {
  const body = JSON.stringify(made.only('AWS::CloudWatch::Dashboard').Properties['DashboardBody'])
  const asked = [...body.matchAll(/(?:sum|max)\((\w+)\) as/g)].map(([, name]) => name)
  const written: readonly (keyof (Relayed & Swept & Watched))[] = [
    'sent',
    'refused',
    'expired',
    'hinted',
    'failed',
    'waiversExpiring',
  ]
  expect(asked).toEqual(written)
})

describe('an installation without hosts, builders and jobs', () => {
  test('rings nothing', async () => {
    const measured = { ...(await watched()), backupAgeS: 200 }
    const ringing = ownAlarms(made)
      .filter(({ Properties }) => Properties['Statistic'] !== 'SampleCount')
      .filter(({ Properties }) => rings(Properties, Object(measured)[String(Properties['MetricName'])]))
    expect(ringing.map(({ Properties }) => Properties['MetricName'])).toEqual([])
  })
})

test.each<[keyof Watched, number, number]>([
  ['outboxAgeS', 300, 301],
  ['jobWaitingS', 3600, 3601],
  ['buildersSilent', 0, 1],
  ['hostsSilentPercent', 20, 21],
  ['nonceHoursAhead', 24, 23],
  ['tokensEnding', 0, 1],
  ['keyAgeDays', 730, 731],
  ['backupAgeS', 900, 901],
])('%s may be %i, and %i rings', (name, quiet, loud) => {
  const [alarm] = ownAlarms(made).filter(
    ({ Properties }) => Properties['MetricName'] === name && Properties['Statistic'] !== 'SampleCount',
  )
  expect([rings(alarm?.Properties ?? {}, quiet), rings(alarm?.Properties ?? {}, loud)]).toEqual([false, true])
})

test('what is not measured any more stays as it was, except for the sweep itself and the backups', () => {
  const bySilence = Object.fromEntries(
    ownAlarms(made)
      .filter(({ Properties }) => WATCHED.some((name) => name === Properties['MetricName']))
      .map(({ Properties }) => [
        `${Properties['MetricName']} ${Properties['Statistic']}`,
        Properties['TreatMissingData'],
      ]),
  )
  expect(Object.entries(bySilence).filter(([, missing]) => missing !== 'ignore')).toEqual([
    ['nonceHoursAhead SampleCount', 'breaching'],
    ['backupAgeS Minimum', 'breaching'],
  ])
})

test('the certificate of the domain rings before it ends', () => {
  const [alarm] = made
    .ofType('AWS::CloudWatch::Alarm')
    .filter(([, { Properties }]) => Properties['Namespace'] === 'AWS/CertificateManager')
  expect(alarm?.[1].Properties).toMatchObject({
    MetricName: 'DaysToExpiry',
    Dimensions: [{ Name: 'CertificateArn', Value: CERTIFICATE }],
    Threshold: 14,
    ComparisonOperator: 'LessThanThreshold',
  })
})

describe('an event of a service', () => {
  test('is kept in a log that only EventBridge may write, and rings', () => {
    const [rule] = made.ofType('AWS::Events::Rule').filter(([, { Properties }]) => Properties['EventPattern'])
    expect(rule?.[1].Properties).toMatchObject({
      Name: 'crystal-forge-backups-in-danger',
      EventPattern: {
        source: ['aws.rds'],
        'detail-type': ['RDS DB Instance Event'],
        detail: {
          EventID: expect.arrayContaining(['RDS-EVENT-0028']),
          SourceIdentifier: [expect.anything()],
        },
      },
    })
    const [target] = listOf<Record<string, unknown>>(Object(rule?.[1].Properties['Targets']))
    expect(JSON.stringify(target)).toMatch(/log-group:/)
    const counted = made
      .ofType('AWS::CloudWatch::Alarm')
      .find(([, { Properties }]) => Properties['Namespace'] === 'AWS/Events')?.[1].Properties
    expect(counted).toMatchObject({
      MetricName: 'TriggeredRules',
      Dimensions: [{ Name: 'RuleName', Value: 'crystal-forge-backups-in-danger' }],
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0,
    })
  })
})

test('the stack of alarms comes after everything that it watches', () => {
  const assembly = made.app.synth({ skipValidation: true })
  const observe = assembly.getStackByName('crystal-forge-observe')
  const before = observe.dependencies.map(({ id }) => id)
  expect(before).toEqual(expect.arrayContaining(['crystal-forge-compute', 'crystal-forge-edge']))
})

async function watched(): Promise<Watched> {
  await database.admin.query(`insert into tenant (name) values ('main')`)
  return watch({
    database: database.poolFor('cf_scheduler'),
    expiryDays: 14,
    revocationListEndsAt: undefined,
    now: () => new Date(),
  })
}

function ownAlarms({ ofType }: Synthesized): Resource[] {
  return ofType('AWS::CloudWatch::Alarm')
    .map(([, alarm]) => alarm)
    .filter(({ Properties }) => Properties['Namespace'] === 'crystal-forge')
}

/** What CloudWatch makes of a line of the log. */
function metricOf(program: string, name: string): object {
  const lines: string[] = []
  const deployedAs = `crystal-forge-${program}`
  jsonLog(program, { write: (line) => void lines.push(line), metrics: [name], deployedAs })('info', 'x', {
    [name]: 1,
  })
  const line = JSON.parse(lines.join(''))
  const [{ Namespace, Dimensions, Metrics }] = line._aws.CloudWatchMetrics
  return {
    namespace: Namespace,
    name: Metrics[0].Name,
    dimensions: Dimensions[0].map((dimension: string) => ({ Name: dimension, Value: line[dimension] })),
  }
}

function identity(alarm: Readonly<Record<string, unknown>>): object {
  return { namespace: alarm['Namespace'], name: alarm['MetricName'], dimensions: alarm['Dimensions'] }
}

function rings(alarm: Readonly<Record<string, unknown>>, value: number): boolean {
  const threshold = Number(alarm['Threshold'])
  switch (alarm['ComparisonOperator']) {
    case 'GreaterThanThreshold':
      return value > threshold
    case 'LessThanThreshold':
      return value < threshold
    default:
      throw new Error(`unknown comparison ${alarm['ComparisonOperator']}`)
  }
}
