import type { VARIABLES } from '../../functions/status/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform } from '../platform.ts'

/** Whether the database answers. */
export function status(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_status')
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
  }
  return new LambdaFunction(platform, {
    name: 'status',
    variables,
    access: [database],
    memoryMib: 256,
    waiting: 'caller',
  })
}
