import type { VARIABLES } from '../../functions/webhooks/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform, relayAccess, secretAccess } from '../platform.ts'

/** Takes deliveries of forges. Opens the secrets of hooks. */
export function webhooks(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_hooks')
  const sealing = secretAccess(platform, 'SEALING_KEY_SECRET_ARN', 'sealing-key')
  const relay = relayAccess(platform)
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...sealing.variables,
    ...relay.variables,
  }
  return new LambdaFunction(platform, {
    name: 'webhooks',
    variables,
    access: [database, sealing, relay],
    memoryMib: 512,
    waiting: 'caller',
  })
}
