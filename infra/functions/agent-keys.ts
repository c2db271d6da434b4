import type { VARIABLES } from '../../functions/agent-keys/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform } from '../platform.ts'

/** Gives hosts their keys. */
export function agentKeys(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_enroll')
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    PUBLIC_AUTHORITY: platform.network.address.authority,
  }
  return new LambdaFunction(platform, {
    name: 'agent-keys',
    variables,
    access: [database],
    memoryMib: 512,
    waiting: 'caller',
  })
}
