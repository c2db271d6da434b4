import type { VARIABLES } from '../../functions/original-wire/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform } from '../platform.ts'

/** The routes of the original’s agents; off until a tenant switches them on. */
export function originalWire(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_ingest')
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
  }
  return new LambdaFunction(platform, {
    name: 'original-wire',
    variables,
    access: [database],
    memoryMib: 512,
    waiting: 'caller',
  })
}
