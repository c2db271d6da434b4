import type { ReportAnswer } from '@crystal-forge/protocol'

/** How often hosts report when nothing else is configured; the thresholds of health are made for it. */
export const REPORT_EVERY_S_DEFAULT = 600

/**
 * What a host is told about its next report. A duplicate gets the answer of its first arrival, therefore the time is that
 * of the first arrival and everything else follows from it and the configuration.
 */
export function answerReport(
  first: { readonly receivedAt: Date },
  configured: { readonly nextReportInS: number },
): ReportAnswer {
  return {
    next_report_in_s: configured.nextReportInS,
    server_time: first.receivedAt.toISOString(),
    deployment: null,
  }
}
