import type { Duration } from 'aws-cdk-lib'
import { Metric } from 'aws-cdk-lib/aws-cloudwatch'
import { CfnRule } from 'aws-cdk-lib/aws-events'
import { type PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { LogGroup, ResourcePolicy } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { type AlarmProps, alarm } from './alarms.ts'
import { arn, explainWildcards, type Grant, logGroupArn, statement } from './grants.ts'
import { KEPT } from './kept.ts'
import type { Parameters } from './parameters.ts'

/** Where events of AWS's own services are kept, so that whoever is woken can read what happened. */
export function eventLog(
  scope: Construct,
  { parameters, key }: { parameters: Parameters; key: IKey },
): LogGroup {
  const { name, logRetentionDays } = parameters
  const log = new LogGroup(scope, 'Events', {
    // EventBridge's console offers groups with this beginning only.
    logGroupName: `/aws/events/${name}`,
    encryptionKey: key,
    retention: logRetentionDays,
    removalPolicy: KEPT,
  })
  const grants: readonly Grant[] = [
    {
      sid: 'EventsMakeStreams',
      actions: ['logs:CreateLogStream'],
      resources: [log.logGroupArn],
      because: `EventBridge names the streams of this one group, and does so for no rule: ${STREAMS}`,
    },
    {
      sid: 'EventsAreWritten',
      actions: ['logs:PutLogEvents'],
      resources: [log.logGroupArn],
      when: { ArnLike: { 'aws:SourceArn': arn(scope, 'events', `rule/${name}-*`) } },
      because: STREAMS,
    },
  ]
  const policy = new ResourcePolicy(scope, 'EventsAreWritten', {
    resourcePolicyName: `${name}-events`,
    policyStatements: grants.map(writable),
  })
  explainWildcards(policy, grants)
  return log
}

/** For a log group EventBridge takes no role; the second name delivers what the first one was given. */
function writable(grant: Grant): PolicyStatement {
  const allowed = statement(grant)
  allowed.addPrincipals(
    new ServicePrincipal('events.amazonaws.com'),
    new ServicePrincipal('delivery.logs.amazonaws.com'),
  )
  return allowed
}

const STREAMS = 'the :* of the ARN of a log group stands for its streams'

export type ServiceEventProps = Pick<AlarmProps, 'topic' | 'says' | 'section'> & {
  readonly log: LogGroup
  readonly ruleName: string
  readonly pattern: Readonly<Record<string, unknown>>
  /** For how long one event keeps the alarm up. */
  readonly period: Duration
}

/**
 * Rings for an event of a service. The rule writes it into the log, and the alarm counts what the rule matched: an alarm
 * may use the key of the topic under a condition, which EventBridge may not.
 */
export class ServiceEvent extends Construct {
  constructor(scope: Construct, id: string, props: ServiceEventProps) {
    super(scope, id)
    const { log, ruleName, pattern, period, topic, says, section } = props
    new CfnRule(this, 'Rule', {
      name: ruleName,
      description: says,
      eventPattern: pattern,
      targets: [{ id: 'log', arn: logGroupArn(this, log) }],
    })
    const metric = new Metric({
      namespace: 'AWS/Events',
      metricName: 'TriggeredRules',
      dimensionsMap: { RuleName: ruleName },
      statistic: 'Sum',
      period,
    })
    alarm(this, 'Alarm', { topic, says, section, metric, threshold: 0 })
  }
}
