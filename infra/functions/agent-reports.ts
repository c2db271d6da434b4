import type { VARIABLES } from '../../functions/agent-reports/config.ts'
import { LambdaFunction } from '../lambda-function.ts'
import { databaseAccess, type Platform } from '../platform.ts'

/** Takes the reports of hosts. May add to history, never read it back. */
export function agentReports(platform: Platform): LambdaFunction {
  const database = databaseAccess(platform, 'cf_ingest')
  const variables: Record<(typeof VARIABLES)[number], string> = {
    ...database.variables,
    PUBLIC_AUTHORITY: platform.network.address.authority,
    NEXT_REPORT_IN_S: String(platform.parameters.nextReportInS),
  }
  return new LambdaFunction(platform, {
    name: 'agent-reports',
    variables,
    access: [database],
    memoryMib: 512,
    waiting: 'caller',
  })
}
