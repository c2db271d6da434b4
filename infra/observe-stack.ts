import { Duration, Stack, type StackProps } from 'aws-cdk-lib'
import { CfnBudget } from 'aws-cdk-lib/aws-budgets'
import { Dashboard, GraphWidget, type IMetric, Metric, Stats, TextWidget } from 'aws-cdk-lib/aws-cloudwatch'
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { Construct } from 'constructs'
import { type AlarmProps, alarm, RUNBOOK_SECTIONS } from './alarms.ts'
import { databaseConnections } from './capacity.ts'
import type { ComputeStack } from './compute-stack.ts'
import type { DataStack } from './data-stack.ts'
import { statement } from './grants.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'

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
    for (const [name, one] of Object.entries(sharedAlarms({ api, db, parameters })))
      alarm(this, name, { topic: data.alarms, ...one })
    dashboard(this, { parameters, api, db, compute })
    if (parameters.budgetUsd !== undefined)
      budget(this, { ...parameters, budgetUsd: parameters.budgetUsd }, data)
  }
}

type ApiMetrics = { readonly requests: IMetric; readonly errors: IMetric; readonly latency: IMetric }
type DatabaseMetrics = Readonly<Record<'cpu' | 'connections' | 'memory' | 'storage' | 'latency', IMetric>>

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
    latency: one('CommitLatency'),
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
    graph('What the relay sent and the sweep found', [
      ...['sent', 'refused'].map((name) => counted('relay-outbox', name)),
      ...['expired', 'hinted', 'failed'].map((name) => counted('sweep', name)),
    ]),
  )
  made.addWidgets(
    graph('Database: processor, connections', [db.cpu], [db.connections]),
    graph('Database: memory, disk', [db.memory], [db.storage]),
    graph('Database: time of a commit', [db.latency]),
  )
  made.addWidgets(
    new TextWidget({
      markdown: `Runbook: docs/runbook.md - ${RUNBOOK_SECTIONS.join(', ')}`,
      width: 24,
      height: 2,
    }),
  )
}

function counted(program: string, metricName: string): Metric {
  return new Metric({
    namespace: 'crystal-forge',
    metricName,
    dimensionsMap: { program },
    statistic: 'Sum',
    label: `${program} ${metricName}`,
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
    when: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
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
