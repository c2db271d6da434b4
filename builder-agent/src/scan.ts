import type { JobResult, ScanPayload } from '@crystal-forge/protocol'
import type { JobContext } from './job-context.ts'

export async function scan(_context: JobContext, _work: ScanPayload): Promise<JobResult['result']> {
  return {
    outcome: 'succeeded',
    succeeded: { kind: 'scan', outcome: 'no_scanner', scanner: null, findings: [] },
  }
}
