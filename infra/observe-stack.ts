import { Duration, Stack, type StackProps } from 'aws-cdk-lib'
import { CfnBudget } from 'aws-cdk-lib/aws-budgets'
import {
  Dashboard,
  GraphWidget,
  type IMetric,
  LogQueryVisualizationType,
  LogQueryWidget,
  Metric,
  Stats,
  TextWidget,
} from 'aws-cdk-lib/aws-cloudwatch'
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { Construct } from 'constructs'
import { type AlarmProps, alarm, RUNBOOK_SECTIONS } from './alarms.ts'
import { databaseConnections, type FunctionName } from './capacity.ts'
import type { ComputeStack } from './compute-stack.ts'
import type { DataStack } from './data-stack.ts'
import { ownAccount, statement } from './grants.ts'
import type { NetworkStack } from './network-stack.ts'
import { ownMetric } from './own-metric.ts'
import type { Parameters } from './parameters.ts'
import { ServiceEvent } from './service-events.ts'
import { watchAlarms } from './watch-alarms.ts'

export type ObserveProps = StackProps & {
  readonly parameters: Parameters
  readonly network: NetworkStack
  readonly data: DataStack
  readonly compute: ComputeStack
}

/** What people look at: one dashboard, the alarms that belong to no single function, and the cost. */
export class ObserveStack extends Stack {
  constructor(scope: Construct, id: string, { parameters, network, data, compute, ...props }: ObserveProps) {
    super(scope, id, props)
    const api = apiMetrics(network)
    const db = databaseMetrics(data)
    const alarms = { ...sharedAlarms({ api, db, parameters }), ...watchAlarms(parameters) }
    for (const [name, one] of Object.entries(alarms)) alarm(this, name, { topic: data.alarms, ...one })
    if (data.database.kind === 'rds') backupsInDanger(this, data, parameters)
    dashboard(this, { parameters, api, db, compute })
    if (parameters.budgetUsd !== undefined)
      budget(this, { ...parameters, budgetUsd: parameters.budgetUsd }, data)
  }
}

type ApiMetrics = { readonly requests: IMetric; readonly errors: IMetric; readonly latency: IMetric }
type DatabaseMetrics = Readonly<Record<'cpu' | 'connections' | 'memory' | 'storage' | 'writes', IMetric>>

function apiMetrics({ address }: NetworkStack): ApiMetrics {
  const http = address.kind === 'http'
  const one = (metricName: string, statistic: string): Metric =>
    new Metric({
      namespace: 'AWS/ApiGateway',
      metricName,
      statistic,
      period: Duration.minutes(5),
      dimensionsMap: http ? { ApiId: address.api.ref } : { ApiName: address.api.name ?? '' },
    })
  return {
    requests: one('Count', 'Sum'),
    errors: one(http ? '5xx' : '5XXError', 'Sum'),
    latency: one('Latency', Stats.percentile(95)),
  }
}

function databaseMetrics({ database }: DataStack): DatabaseMetrics {
  const one = (metricName: string, statistic = 'Average'): Metric =>
    new Metric({
      namespace: 'AWS/RDS',
      metricName,
      statistic,
      period: Duration.minutes(5),
      dimensionsMap: { ...database.dimensions },
    })
  return {
    cpu: one('CPUUtilization'),
    connections: one('DatabaseConnections', 'Maximum'),
    memory: one('FreeableMemory', 'Minimum'),
    storage: one(database.kind === 'rds' ? 'FreeStorageSpace' : 'FreeLocalStorage', 'Minimum'),
    // Only Aurora measures commits; of an instance it is the disk that makes them wait.
    writes: one(database.kind === 'rds' ? 'WriteLatency' : 'CommitLatency'),
  }
}

function sharedAlarms({
  api,
  db,
  parameters,
}: {
  api: ApiMetrics
  db: DatabaseMetrics
  parameters: Parameters
}): Record<string, Omit<AlarmProps, 'topic'>> {
  const connections = databaseConnections(parameters.databaseClass) ?? 100
  return {
    ApiErrors: {
      says: 'The API answers with 5xx.',
      section: 'api-5xx',
      metric: api.errors,
      threshold: 5,
    },
    ApiLatency: {
      says: 'One request in twenty takes longer than 5 s.',
      section: 'api-latency',
      metric: api.latency,
      threshold: 5000,
      periods: 3,
    },
    DatabaseCpu: {
      says: 'The database has been busy for 15 minutes.',
      section: 'database-cpu',
      metric: db.cpu,
      threshold: 85,
      periods: 3,
    },
    DatabaseStorage: {
      says: 'The disk of the database is nearly full.',
      section: 'database-storage',
      metric: db.storage,
      threshold: 5 * GIB,
      below: true,
    },
    DatabaseMemory: {
      says: 'The database is short of memory.',
      section: 'database-memory',
      metric: db.memory,
      threshold: 0.06 * GIB,
      below: true,
      periods: 3,
    },
    DatabaseConnections: {
      says: 'Nearly all connections of the database are taken.',
      section: 'database-connections',
      metric: db.connections,
      threshold: Math.floor(connections * 0.9),
    },
  }
}

function dashboard(
  scope: Construct,
  {
    parameters,
    api,
    db,
    compute,
  }: { parameters: Parameters; api: ApiMetrics; db: DatabaseMetrics; compute: ComputeStack },
): void {
  const made = new Dashboard(scope, 'Dashboard', {
    dashboardName: parameters.name,
    defaultInterval: Duration.hours(12),
  })
  const graph = (title: string, left: IMetric[], right: IMetric[] = []): GraphWidget =>
    new GraphWidget({ title, left, right, width: 8, height: 6 })
  const functions = Object.values(compute.http).map(({ fn }) => fn)
  const worst = (metricName: string): IMetric =>
    ownMetric(parameters, 'sweep', { metricName, statistic: 'Maximum', label: metricName })
  const queues = Object.values(compute.jobQueues).map(({ queue }) => queue)
  made.addWidgets(
    graph('Requests, and how long one in twenty takes', [api.requests], [api.latency]),
    graph('Answers with 5xx', [api.errors]),
    graph(
      'Instances of functions',
      functions.map((fn) => fn.metric('ConcurrentExecutions', { statistic: 'Maximum' })),
    ),
  )
  made.addWidgets(
    graph(
      'Hints that wait for builders',
      queues.map((queue) => queue.metricApproximateNumberOfMessagesVisible()),
    ),
    graph(
      'Oldest hint',
      queues.map((queue) => queue.metricApproximateAgeOfOldestMessage()),
    ),
    counts(parameters, {
      title: 'What the relay sent and the sweep found',
      programs: ['relay-outbox', 'sweep'],
      shows: ['sent', 'refused', 'expired', 'hinted', 'failed'].map((name) => `sum(${name}) as ${name}s`),
    }),
  )
  made.addWidgets(
    graph('Waiting, in seconds: messages, jobs', [worst('outboxAgeS'), worst('jobWaitingS')]),
    graph('Silent: builders, share of hosts', [worst('buildersSilent')], [worst('hostsSilentPercent')]),
    graph('Tokens that end soon', [worst('tokensEnding')]),
    counts(parameters, {
      title: 'Waivers that end within 30 days',
      programs: ['sweep'],
      shows: ['max(waiversExpiring) as waivers'],
    }),
  )
  made.addWidgets(graph('Seconds that a restore would lose', [worst('backupAgeS')]))
  made.addWidgets(
    graph('Database: processor, connections', [db.cpu], [db.connections]),
    graph('Database: memory, disk', [db.memory], [db.storage]),
    graph('Database: time of a write', [db.writes]),
  )
  made.addWidgets(
    new TextWidget({
      markdown: `Runbook: docs/runbook.md - ${RUNBOOK_SECTIONS.join(', ')}`,
      width: 24,
      height: 2,
    }),
  )
}

/** Counts of which no alarm reads, from the log and only while somebody looks: a metric would cost all month. */
function counts(
  { name }: Parameters,
  what: {
    readonly title: string
    readonly programs: readonly FunctionName[]
    readonly shows: readonly string[]
  },
): LogQueryWidget {
  return new LogQueryWidget({
    title: what.title,
    logGroupNames: what.programs.map((program) => `/aws/lambda/${name}-${program}`),
    queryLines: [`stats ${what.shows.join(', ')} by bin(5m)`],
    view: LogQueryVisualizationType.LINE,
    width: 8,
    height: 6,
  })
}

/** What RDS says of an instance whose backups were switched off, or that needs them. */
function backupsInDanger(scope: Construct, data: DataStack, { name }: Parameters): void {
  new ServiceEvent(scope, 'BackupsInDanger', {
    log: data.events,
    topic: data.alarms,
    ruleName: `${name}-backups-in-danger`,
    says: 'RDS keeps no backups of the database any more, lost the key that they are read with, or asks for a restore.',
    section: 'backup-age',
    pattern: {
      source: ['aws.rds'],
      'detail-type': ['RDS DB Instance Event'],
      detail: {
        SourceIdentifier: Object.values(data.database.dimensions),
        EventID: Object.keys(EVENTS_OF_RDS),
      },
    },
    period: Duration.hours(1),
  })
}

function budget(
  scope: Construct,
  { name, budgetUsd }: { name: string; budgetUsd: number },
  data: DataStack,
): void {
  const publish = statement({
    sid: 'BudgetsTell',
    actions: ['sns:Publish'],
    resources: [data.alarms.topicArn],
    when: ownAccount(scope),
  })
  publish.addPrincipals(new ServicePrincipal('budgets.amazonaws.com'))
  data.alarms.addToResourcePolicy(publish)
  const tell = (type: 'ACTUAL' | 'FORECASTED') => ({
    notification: {
      notificationType: type,
      comparisonOperator: 'GREATER_THAN',
      threshold: 100,
      thresholdType: 'PERCENTAGE',
    },
    subscribers: [{ subscriptionType: 'SNS', address: data.alarms.topicArn }],
  })
  // Its notification cannot carry a text; the name carries the section of the runbook.
  new CfnBudget(scope, 'Budget', {
    budget: {
      budgetName: `${name} (docs/runbook.md#budget)`,
      budgetType: 'COST',
      timeUnit: 'MONTHLY',
      budgetLimit: { amount: budgetUsd, unit: 'USD' },
      costFilters: { TagKeyValue: [`user:application$${name}`] },
    },
    notificationsWithSubscribers: [tell('FORECASTED'), tell('ACTUAL')],
  })
}

const GIB = 2 ** 30

/** What each means, from the list of events of RDS. */
const EVENTS_OF_RDS = {
  'RDS-EVENT-0028': 'automated backups were disabled',
  'RDS-EVENT-0031': 'the instance has failed, and a restore to a point in time is recommended',
  'RDS-EVENT-0418': 'the key of the instance cannot be used',
  'RDS-EVENT-0419': 'the key of the instance cannot be used, and the instance is being closed',
}
