import type { VARIABLES } from '../../functions/operator-api/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, deadLetterAccess, type Platform, relayAccess, secretAccess } from '../platform.ts'

/** What operators read and change. Seals the secrets of hooks. */
export function operatorApi(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_operators')
  const sealing = secretAccess(platform, 'SEALING_KEY_SECRET_ARN', 'sealing-key')
  const relay = relayAccess(platform)
  const dead = deadLetterAccess(platform)
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...sealing.variables,
    ...relay.variables,
    ...dead.variables,
  }
  return new LambdaFunction(platform, {
    name: 'operator-api',
    variables,
    access: [database, sealing, relay, dead],
    memoryMib: 1024,
    waiting: 'caller',
  })
}
