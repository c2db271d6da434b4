import { Duration } from 'aws-cdk-lib'
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources'
import type { VARIABLES } from '../../functions/relay-outbox/config.ts'
import { alarm } from '../alarms.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { ownMetric } from '../own-metric.ts'
import { databaseAccess, jobQueueVariables, type Platform } from '../platform.ts'
import { everyMinute } from '../schedule.ts'

/** Carries hints from the outbox to the queues: when it is woken, and every minute in case that was lost. */
export function relayOutbox(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_scheduler')
  const { jobQueues, relayQueue, network, data } = platform
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...jobQueueVariables(platform),
  }
  const queues = {
    grants: [
      {
        sid: 'SendHints',
        actions: ['sqs:SendMessage'],
        resources: Object.values(jobQueues).map(({ queue }) => queue.queueArn),
      },
      {
        sid: 'BeWoken',
        actions: ['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'],
        resources: [relayQueue.queueArn],
      },
    ],
    doors: [network.doors.toQueues],
  }
  const made = new LambdaFunction(platform, {
    name: 'relay-outbox',
    variables,
    access: [database, queues],
    memoryMib: 512,
    waiting: 'nobody',
  })
  // Ten wake-ups at once are one look into the outbox. Two at a time is the least that SQS allows.
  made.fn.addEventSource(new SqsEventSource(relayQueue, { batchSize: 10, maxConcurrency: 2 }))
  everyMinute(made)
  alarm(made, 'RefusedAlarm', {
    topic: data.alarms,
    says: 'SQS refuses hints; builders learn of jobs late.',
    section: 'relay-refused',
    metric: ownMetric(platform.parameters, 'relay-outbox', {
      metricName: 'refused',
      statistic: 'Sum',
      period: Duration.minutes(5),
    }),
    threshold: 0,
    periods: 2,
  })
  return made
}
