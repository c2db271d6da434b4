import type { AssessedRule, AssessmentSnapshot } from '../assess.ts'

/** When an open rule is to be closed where nobody planned otherwise: by category, from the day of the assessment. */
export function dueOf(snapshot: AssessmentSnapshot, { severity }: AssessedRule): Date {
  return new Date(snapshot.at.getTime() + DAYS[severity] * 86_400_000)
}

const DAYS: Readonly<Record<AssessedRule['severity'], number>> = { high: 30, medium: 90, low: 180 }
