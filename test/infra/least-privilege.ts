import { REASONS } from '../../infra/grants.ts'
import { listOf, type Statement, type Synthesized, statements } from './synthesized.ts'

/**
 * Rights with a wildcard that nobody gave a reason for, beside them in the template. A statement that denies is left out:
 * there a wildcard takes more away.
 */
export function wildcardsWithoutReason(deployment: Synthesized): string[] {
  return allowed(deployment)
    .filter(({ statement }) =>
      [...listOf(statement.Action), ...listOf(statement.Resource)].some((one) =>
        JSON.stringify(one).includes('*'),
      ),
    )
    .filter(({ resource, statement }) => reasonOf(resource.Metadata?.[REASONS], statement) === undefined)
    .map(({ id, statement }) => `${id}: ${JSON.stringify([statement.Action, statement.Resource])}`)
}

/** Rights that are given to everybody, unless a condition leaves nobody but this account or our endpoint of them. */
export function openToEverybody(deployment: Synthesized): string[] {
  return allowed(deployment)
    .filter(({ statement }) => everybody(statement.Principal) || 'NotPrincipal' in statement)
    .filter(({ statement }) => {
      const keys = Object.keys(statement.Condition?.['StringEquals'] ?? {})
      return !keys.some((key) => key === 'aws:PrincipalAccount' || key === 'aws:SourceVpce')
    })
    .map(({ id, statement }) => `${id}: ${statement.Sid}`)
}

/** Everything but a few named things is more than anybody can review. */
export function turnedAround(deployment: Synthesized): string[] {
  return allowed(deployment)
    .filter(({ statement }) => 'NotAction' in statement || 'NotResource' in statement)
    .map(({ id }) => id)
}

/** Policies that AWS writes and may change. */
export function policiesOfAws({ ofType }: Synthesized): string[] {
  return ofType('AWS::IAM::Role')
    .filter(([, { Properties }]) =>
      JSON.stringify(Properties['ManagedPolicyArns'] ?? []).includes(':aws:policy/'),
    )
    .map(([id]) => id)
}

/** Services of AWS that may use or write something of ours without saying for whom. An empty stream in a log says nothing. */
export function withoutAccount(deployment: Synthesized): string[] {
  return allowed(deployment)
    .filter(({ resource }) => resource.Type !== 'AWS::IAM::Role')
    .filter(({ statement }) => JSON.stringify(statement.Principal ?? {}).includes('"Service"'))
    .filter(({ statement }) => String(listOf(statement.Action)) !== 'logs:CreateLogStream')
    .filter(
      ({ statement }) => !/aws:SourceA|EncryptionContext/i.test(JSON.stringify(statement.Condition ?? {})),
    )
    .map(({ id, statement }) => `${id}: ${statement.Sid}`)
}

function allowed(deployment: Synthesized): ReturnType<typeof statements> {
  return statements(deployment).filter(({ statement }) => statement.Effect === 'Allow')
}

function everybody(principal: unknown): boolean {
  return /"\*"/.test(JSON.stringify(principal ?? null))
}

function reasonOf(reasons: unknown, { Sid, Action }: Statement): string | undefined {
  const key = Sid ?? String(listOf(Action)[0])
  return typeof reasons === 'object' && reasons !== null
    ? (Object.entries(reasons).find(([name]) => name === key)?.[1] as string | undefined)
    : undefined
}
