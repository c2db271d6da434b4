import { Validations } from 'aws-cdk-lib'
import type { IConstruct } from 'constructs'

/** Accepts findings of cdk-nag below a construct: by rule, each with the reason that a reviewer reads. */
export function acknowledge(scope: IConstruct, reasons: Readonly<Record<string, string>>): void {
  // A test asks for every finding, to see that no acknowledgement outlives what it was about.
  if (scope.node.tryGetContext(ALL_FINDINGS) !== undefined) return
  for (const [id, reason] of Object.entries(reasons)) Validations.of(scope).acknowledge({ id, reason })
}

export const ALL_FINDINGS = 'crystal-forge:all-findings'
