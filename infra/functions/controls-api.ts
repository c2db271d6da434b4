import type { VARIABLES } from '../../functions/controls-api/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform } from '../platform.ts'

/** Judges controls from evidence, and exports what follows. */
export function controlsApi(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_controls')
  const variables: Record<(typeof VARIABLES)[number], string> = { ...database.variables }
  return new LambdaFunction(platform, {
    name: 'controls-api',
    variables,
    access: [database],
    memoryMib: 1024,
    waiting: 'caller',
  })
}
