import { Duration } from 'aws-cdk-lib'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import { alarm } from './alarms.ts'

export type QueueProps = {
  readonly queueName: string
  readonly visibilityS: number
  /** How often a message is handed out before it is put aside. */
  readonly receivesMax: number
  readonly topic: ITopic
  /** An alarm when a message waits longer; absent when waiting is normal. */
  readonly ageAlarmS?: number
}

/** A queue, where its messages go when nobody can do anything with them, and the alarm when that happens. */
export class QueueWithDeadLetters extends Construct {
  readonly queue: Queue
  readonly deadLetters: Queue

  constructor(scope: Construct, id: string, props: QueueProps) {
    super(scope, id)
    this.deadLetters = deadLetterQueue(this, `${props.queueName}-dead-letters`, props.topic)
    this.queue = new Queue(this, 'Queue', {
      ...ENCRYPTED,
      queueName: props.queueName,
      visibilityTimeout: Duration.seconds(props.visibilityS),
      retentionPeriod: Duration.days(4),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: props.receivesMax },
    })
    if (props.ageAlarmS !== undefined)
      alarm(this, 'AgeAlarm', {
        topic: props.topic,
        says: `Messages wait in ${props.queueName} for more than ${props.ageAlarmS} s.`,
        section: 'queue-age',
        metric: this.queue.metricApproximateAgeOfOldestMessage({ period: Duration.minutes(5) }),
        threshold: props.ageAlarmS,
        periods: 2,
      })
  }
}

/** Keeps what failed for two weeks, which is as long as SQS can, and rings as soon as there is anything. */
export function deadLetterQueue(scope: Construct, queueName: string, topic: ITopic): Queue {
  const queue = new Queue(scope, 'DeadLetters', {
    ...ENCRYPTED,
    queueName,
    retentionPeriod: Duration.days(14),
  })
  alarm(scope, 'DeadLettersAlarm', {
    topic,
    says: `Something was put aside in ${queueName}.`,
    section: 'dead-letters',
    metric: queue.metricApproximateNumberOfMessagesVisible({
      period: Duration.minutes(1),
      statistic: 'Maximum',
    }),
    threshold: 0,
  })
  return queue
}

const ENCRYPTED = { encryption: QueueEncryption.SQS_MANAGED, enforceSSL: true } as const
