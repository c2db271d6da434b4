import { readFileSync } from 'node:fs'
import { secretsManager } from '@crystal-forge/aws'
import type { EnvironmentReader } from './environment.ts'

/** Where a secret lies: never the secret itself, so that a configuration may be logged. */
export type SecretSource =
  | { readonly kind: 'file'; readonly variable: string; readonly path: string }
  | {
      readonly kind: 'secrets-manager'
      readonly variable: string
      readonly arn: string
      readonly region: string
    }

/** Reads `NAME_SECRET_ARN`, as AWS sets it, or `NAME_FILE`, as one machine does; not both. */
export function readSecretSource(environment: EnvironmentReader, name: string): SecretSource {
  const arn = environment.optional(`${name}_SECRET_ARN`)
  const file = environment.optional(`${name}_FILE`)
  if (arn === undefined)
    return { kind: 'file', variable: `${name}_FILE`, path: environment.text(`${name}_FILE`) }
  if (file !== undefined) environment.refuse(`${name}_SECRET_ARN and ${name}_FILE are both set; remove one`)
  return {
    kind: 'secrets-manager',
    variable: `${name}_SECRET_ARN`,
    arn,
    region: environment.text('AWS_REGION'),
  }
}

/** The text of a secret. */
export type ReadSecret = (source: SecretSource) => string

/** What a program on one machine uses. */
export const fromFile: ReadSecret = (source) => {
  if (source.kind === 'file') return readFileSync(source.path, 'utf8')
  throw new Error(`${source.variable} names a secret of AWS, which this program does not fetch; set a file`)
}

/**
 * Fetches what lies in Secrets Manager, once for each instance of a function, before its handler exists: an instance
 * that cannot have its secrets does not start, and says which one.
 */
export async function fetchSecrets(sources: readonly SecretSource[]): Promise<ReadSecret> {
  const fetched = new Map<string, string>()
  for (const source of sources) {
    if (source.kind === 'file') continue
    const secrets = secretsManager({ region: source.region })
    try {
      fetched.set(source.variable, await secrets.read(source.arn))
    } finally {
      secrets.close()
    }
  }
  return (source) => fetched.get(source.variable) ?? fromFile(source)
}

/** For messages: which variable to look at, and what it points to. */
export function whereOf(source: SecretSource): string {
  return `${source.variable}: ${source.kind === 'file' ? source.path : source.arn}`
}
