import { secretsManager } from '@crystal-forge/aws'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { type Filled, fillSecrets } from './fill-secrets.ts'

export type DeployHandler = () => Promise<Filled>

/** Runs once for each deployment, before the functions that need the secrets. */
export function app(
  config: Config,
  { log }: { readonly log: Log },
): { handler: DeployHandler; close(): void } {
  const secrets = secretsManager({ region: config.region })
  return { handler: () => fillSecrets(secrets, config, log), close: () => secrets.close() }
}
