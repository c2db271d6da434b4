import { type App, type StackProps, Tags } from 'aws-cdk-lib'
import { type BuilderTrust, readBuilderTrust } from './builder-trust.ts'
import { BuildersStack } from './builders-stack.ts'
import { connectionsNeeded, databaseConnections, type FunctionName } from './capacity.ts'
import { ComputeStack } from './compute-stack.ts'
import { DataStack } from './data-stack.ts'
import { EdgeStack } from './edge-stack.ts'
import { NetworkStack } from './network-stack.ts'
import { ObserveStack } from './observe-stack.ts'
import { ParameterError, type Parameters } from './parameters.ts'

export type Stacks = {
  readonly network: NetworkStack
  readonly data: DataStack
  readonly compute: ComputeStack
  readonly edge: EdgeStack
  readonly observe: ObserveStack
  readonly builders: BuildersStack | undefined
}

export type Surroundings = {
  /** Directory of the bundle of a function. */
  readonly bundle: (name: FunctionName) => string
  readonly now: Date
}

/** Of the CDK itself: its command line adds paths to templates unless told not to, and what is deployed is what was reviewed. */
export const SWITCHES: Readonly<Record<string, unknown>> = {
  'aws:cdk:enable-path-metadata': false,
  'aws:cdk:enable-asset-metadata': false,
}

/** The stacks, in the order of their lifetimes: what is deployed often depends on what is deployed rarely. */
export function deployment(app: App, parameters: Parameters, { bundle, now }: Surroundings): Stacks {
  refuseTooFewConnections(parameters)
  const trust = readBuilderTrust(parameters, now)
  const { name } = parameters
  const props: StackProps = {
    env: {
      region: parameters.region,
      ...(parameters.account === undefined ? {} : { account: parameters.account }),
    },
    terminationProtection: parameters.deletionProtection,
  }
  const network = new NetworkStack(app, `${name}-network`, { ...props, parameters })
  const data = new DataStack(app, `${name}-data`, { ...props, parameters, network })
  const compute = new ComputeStack(app, `${name}-compute`, {
    ...props,
    parameters,
    network,
    data,
    bundle,
    revocationListEndsAt: trust?.revocationList?.endsAt,
  })
  const edge = new EdgeStack(app, `${name}-edge`, { ...props, parameters, network, compute })
  const observe = new ObserveStack(app, `${name}-observe`, { ...props, parameters, network, data, compute })
  // The sweep reports once a minute, and an alarm that rings when it does not is made last.
  observe.addStackDependency(edge)
  const builders = buildersStack(app, { ...props, parameters, data, compute, trust })
  Tags.of(app).add('application', name)
  for (const [key, value] of Object.entries(parameters.tags)) Tags.of(app).add(key, value)
  return { network, data, compute, edge, observe, builders }
}

function buildersStack(
  app: App,
  props: StackProps & {
    parameters: Parameters
    data: DataStack
    compute: ComputeStack
    trust: BuilderTrust | undefined
  },
): BuildersStack | undefined {
  const { name, builderOidc } = props.parameters
  if (props.trust === undefined && builderOidc === undefined) return undefined
  return new BuildersStack(app, `${name}-builders`, props)
}

/** More instances than connections would mean errors under load, not more throughput. */
function refuseTooFewConnections({ database, databaseClass, databaseProxy }: Parameters): void {
  if (databaseProxy || database === 'aurora') return
  const available = databaseConnections(databaseClass)
  if (available === undefined)
    throw new ParameterError(
      `context databaseClass: ${databaseClass} is not in the table of infra/capacity.ts; add its memory`,
    )
  const needed = connectionsNeeded()
  if (available < needed)
    throw new ParameterError(
      `context databaseClass: ${databaseClass} gives ${available} connections, and the functions need ${needed}`,
    )
}
