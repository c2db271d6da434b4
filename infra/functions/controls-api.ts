import type { VARIABLES } from '../../functions/controls-api/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform, secretAccess } from '../platform.ts'

/** Judges controls from evidence, and exports what follows: the only function that can read the key of exports. */
export function controlsApi(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_controls')
  const signing = secretAccess(platform, 'EXPORT_SIGNING_KEY_SECRET_ARN', 'export-signing-key')
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    ...signing.variables,
  }
  return new LambdaFunction(platform, {
    name: 'controls-api',
    variables,
    access: [database, signing],
    memoryMib: 1024,
    waiting: 'caller',
  })
}
