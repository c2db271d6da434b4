import { readFileSync } from 'node:fs'
import { type App, type StackProps, Tags } from 'aws-cdk-lib'
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

/** The stacks, in the order of their lifetimes: what is deployed often depends on what is deployed rarely. */
export function deployment(app: App, parameters: Parameters, bundle: (name: FunctionName) => string): Stacks {
  refuseTooFewConnections(parameters)
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
  const compute = new ComputeStack(app, `${name}-compute`, { ...props, parameters, network, data, bundle })
  const edge = new EdgeStack(app, `${name}-edge`, { ...props, parameters, network, compute })
  const observe = new ObserveStack(app, `${name}-observe`, { ...props, parameters, network, data, compute })
  const builders = buildersStack(app, { ...props, parameters, data, compute })
  Tags.of(app).add('application', name)
  for (const [key, value] of Object.entries(parameters.tags)) Tags.of(app).add(key, value)
  return { network, data, compute, edge, observe, builders }
}

function buildersStack(
  app: App,
  props: StackProps & { parameters: Parameters; data: DataStack; compute: ComputeStack },
): BuildersStack | undefined {
  const { name, builderCaFile, builderCrlFile, builderOidc } = props.parameters
  if (builderCaFile === undefined && builderOidc === undefined) return undefined
  return new BuildersStack(app, `${name}-builders`, {
    ...props,
    authorityPem:
      builderCaFile === undefined ? undefined : readPem('builderCaFile', builderCaFile, 'CERTIFICATE'),
    crlPem: builderCrlFile === undefined ? undefined : readPem('builderCrlFile', builderCrlFile, 'X509 CRL'),
  })
}

function readPem(parameter: 'builderCaFile' | 'builderCrlFile', file: string, label: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new ParameterError(`context ${parameter}: ${file} cannot be read`)
  }
  if (!text.includes(`-----BEGIN ${label}-----`))
    throw new ParameterError(`context ${parameter}: ${file} holds no PEM block "${label}"`)
  return text
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
