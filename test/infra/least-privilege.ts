import { REASONS } from '../../infra/grants.ts'
import { listOf, type Synthesized, statements } from './synthesized.ts'

/**
 * Rights with a wildcard that nobody gave a reason for. A statement that denies is left out: there a wildcard takes more
 * away. What CDK makes for itself stands in `MADE_BY_CDK`, each with its reason.
 */
export function wildcardsWithoutReason(deployment: Synthesized): string[] {
  return statements(deployment)
    .filter(({ statement }) => statement.Effect === 'Allow')
    .filter(({ statement }) =>
      [...listOf(statement.Action), ...listOf(statement.Resource)].some((one) =>
        JSON.stringify(one).includes('*'),
      ),
    )
    .filter(({ id, resource, statement }) => {
      const reasons = resource.Metadata?.[REASONS]
      const given = typeof reasons === 'object' && reasons !== null && (statement.Sid ?? '') in reasons
      return !given && !MADE_BY_CDK.some(({ resource: name }) => name.test(id))
    })
    .map(({ id, statement }) => `${id}: ${JSON.stringify([statement.Action, statement.Resource])}`)
}

const MADE_BY_CDK: readonly { readonly resource: RegExp; readonly reason: string }[] = [
  {
    resource: /AccessLogsPolicy/,
    reason:
      'S3 names the objects of an access log by time; only its logging service may write them, for one bucket each',
  },
  {
    resource: /AWSCDKTriggerCustomResourceProvider/,
    reason:
      'invokes the two functions of the deployment in any of their versions, whose numbers are not known before',
  },
]
