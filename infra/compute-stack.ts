import { Stack, type StackProps } from 'aws-cdk-lib'
import type { Construct } from 'constructs'
import { HINT_RECEIVES_MAX } from '../functions/builder-jobs/config.ts'
import type { FunctionName as HttpFunctionName } from '../functions/routes.ts'
import type { FunctionName } from './capacity.ts'
import { narrowCustomResources } from './custom-resource-roles.ts'
import type { DataStack } from './data-stack.ts'
import { databaseProxy } from './database-proxy.ts'
import { agentKeys } from './functions/agent-keys.ts'
import { agentReports } from './functions/agent-reports.ts'
import { builderCache } from './functions/builder-cache.ts'
import { builderJobs } from './functions/builder-jobs.ts'
import { controlsApi } from './functions/controls-api.ts'
import { firstSecrets } from './functions/first-secrets.ts'
import { migrations } from './functions/migrations.ts'
import { operatorApi } from './functions/operator-api.ts'
import { originalWire } from './functions/original-wire.ts'
import { relayOutbox } from './functions/relay-outbox.ts'
import { status } from './functions/status.ts'
import { sweep } from './functions/sweep.ts'
import { webhooks } from './functions/webhooks.ts'
import type { LambdaFunction } from './lambda-function.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'
import type { JobKind, Platform } from './platform.ts'
import { QueueWithDeadLetters } from './queues.ts'

export type ComputeProps = StackProps & {
  readonly parameters: Parameters
  readonly network: NetworkStack
  readonly data: DataStack
  readonly bundle: (name: FunctionName) => string
  readonly revocationListEndsAt: Date | undefined
}

/** What changes with every version: the functions, and the queues that they share with builders. */
export class ComputeStack extends Stack {
  readonly http: Readonly<Record<HttpFunctionName, LambdaFunction>>
  readonly jobQueues: Platform['jobQueues']

  constructor(
    scope: Construct,
    id: string,
    { parameters, network, data, bundle, revocationListEndsAt, ...props }: ComputeProps,
  ) {
    super(scope, id, props)
    this.jobQueues = jobQueues(this, parameters, data)
    const platform: Platform = {
      scope: this,
      parameters,
      network,
      data,
      bundle,
      revocationListEndsAt,
      jobQueues: this.jobQueues,
      relayQueue: relayQueue(this, parameters, data),
      proxy: parameters.databaseProxy ? databaseProxy(this, { parameters, network, data }) : undefined,
    }
    this.http = {
      'agent-reports': agentReports(platform),
      'agent-keys': agentKeys(platform),
      'original-wire': originalWire(platform),
      webhooks: webhooks(platform),
      'builder-jobs': builderJobs(platform),
      'builder-cache': builderCache(platform),
      'operator-api': operatorApi(platform),
      'controls-api': controlsApi(platform),
      status: status(platform),
    }
    prepareFirst(platform, [...Object.values(this.http), relayOutbox(platform), sweep(platform)])
    // Also without builders outside of AWS, so that their stack can be given up.
    for (const { queue } of Object.values(this.jobQueues)) this.exportValue(queue.queueArn)
    narrowCustomResources(this, { parameters, key: network.logsKey })
  }
}

/** No function gets new code before the schema that it needs is there. */
function prepareFirst(platform: Platform, functions: readonly LambdaFunction[]): void {
  for (const { trigger } of [firstSecrets(platform), migrations(platform)])
    trigger.executeBefore(...functions)
}

function jobQueues(scope: Construct, { name, leaseS }: Parameters, data: DataStack): Platform['jobQueues'] {
  const make = (kind: JobKind) =>
    new QueueWithDeadLetters(scope, `${kind}-jobs`, {
      queueName: `${name}-${kind}`,
      // A builder extends it while it works; one that died gives the hint back after two leases.
      visibilityS: Math.max(120, leaseS * 2),
      receivesMax: HINT_RECEIVES_MAX,
      topic: data.alarms,
      ageAlarmS: 3600,
    })
  return { resolve: make('resolve'), evaluate: make('evaluate'), build: make('build'), scan: make('scan') }
}

function relayQueue(scope: Construct, { name }: Parameters, data: DataStack): Platform['relayQueue'] {
  return new QueueWithDeadLetters(scope, 'relay-queue', {
    queueName: `${name}-relay`,
    // More than six runs of the relay, as Lambda asks for.
    visibilityS: 240,
    receivesMax: 3,
    topic: data.alarms,
    ageAlarmS: 300,
  }).queue
}
