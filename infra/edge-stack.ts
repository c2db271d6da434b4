import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import type { ComputeStack } from './compute-stack.ts'
import { httpApi } from './http-api.ts'
import { KEPT } from './kept.ts'
import type { NetworkStack } from './network-stack.ts'
import type { Parameters } from './parameters.ts'
import { privateApi } from './private-api.ts'

export type EdgeProps = StackProps & {
  readonly parameters: Parameters
  readonly network: NetworkStack
  readonly compute: ComputeStack
}

/** How requests get in: every route of the table, throttled, and logged without bodies or headers. */
export class EdgeStack extends Stack {
  constructor(scope: Construct, id: string, { parameters, network, compute, ...props }: EdgeProps) {
    super(scope, id, props)
    const { address } = network
    const accessLog = new LogGroup(this, 'AccessLog', {
      logGroupName: `/${parameters.name}/api`,
      encryptionKey: network.logsKey,
      retention: parameters.logRetentionDays,
      removalPolicy: KEPT,
    })
    if (address.kind === 'http')
      httpApi(this, { parameters, api: address.api, functions: compute.http, accessLog })
    else privateApi(this, { api: address.api, functions: compute.http, accessLog })
    new CfnOutput(this, 'Authority', {
      value: address.authority,
      description: 'The host that agents and builders sign',
    })
  }
}
