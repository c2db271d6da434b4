import { createHash } from 'node:crypto'
import type { EvaluationEvidence } from '@crystal-forge/control-plane'
import { canonicalJson, type StigReport, stigReport } from '@crystal-forge/protocol'

export type EvaluationRow = {
  readonly id: string
  readonly out_path: string
  readonly evaluated_at: Date
  readonly stig_report: unknown
}

/** A report that is none says nothing; whoever evaluates a flake can put anything there. */
export function evaluationOf(row: EvaluationRow): EvaluationEvidence | null {
  const report = stigReport.safeParse(row.stig_report)
  if (!report.success) return null
  const read: StigReport = report.data
  // Nix writes the file with sorted members and no spaces, which is the canonical form.
  const reportSha256 = createHash('sha256').update(canonicalJson(row.stig_report)).digest('hex')
  return { id: row.id, toplevel: row.out_path, evaluatedAt: row.evaluated_at, report: read, reportSha256 }
}
