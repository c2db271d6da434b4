import { CfnResource, Stack } from 'aws-cdk-lib'
import { Effect, type IRole, ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { ILogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct, IConstruct } from 'constructs'

/** One right. A `*` in an action or a resource needs a reason, which goes into the template beside it. */
export type Grant = {
  /** Letters and digits; unique within its policy. */
  readonly sid: string
  readonly actions: readonly string[]
  readonly resources: readonly string[]
  readonly when?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Why a wildcard is needed. */
  readonly because?: string
  readonly effect?: 'Deny'
}

export function statement(grant: Grant): PolicyStatement {
  if (grant.effect !== 'Deny' && grant.because === undefined && hasWildcard(grant))
    throw new Error(`${grant.sid}: a wildcard needs a reason (because)`)
  return new PolicyStatement({
    sid: grant.sid,
    effect: grant.effect === 'Deny' ? Effect.DENY : Effect.ALLOW,
    actions: [...grant.actions],
    resources: [...grant.resources],
    ...(grant.when === undefined ? {} : { conditions: { ...grant.when } }),
  })
}

/** Gives a role exactly these rights, as a policy of its own that can be read and attached in one place. */
export function grantTo(scope: Construct, role: IRole, grants: readonly Grant[]): ManagedPolicy {
  const policy = new ManagedPolicy(scope, 'Policy', { roles: [role], statements: grants.map(statement) })
  explainWildcards(policy, grants)
  return policy
}

/** Writes the reasons into the template, under the metadata of the resource that holds the statements. */
export function explainWildcards(holder: IConstruct, grants: readonly Grant[]): void {
  const reasons = Object.fromEntries(
    grants.flatMap(({ sid, because }) => (because === undefined ? [] : [[sid, because] as const])),
  )
  if (Object.keys(reasons).length === 0) return
  const resource = holder.node.defaultChild
  if (!(resource instanceof CfnResource)) throw new TypeError(`${holder.node.path} is no resource`)
  resource.addMetadata(REASONS, reasons)
}

/** `arn:PARTITION:service:region:account:resource`, whatever the partition is. */
export function arn(scope: Construct, service: string, resource: string): string {
  const { partition, region, account } = Stack.of(scope)
  return `arn:${partition}:${service}:${region}:${account}:${resource}`
}

/** So that a service of AWS acts for nobody but this account when it takes a role or writes somewhere (confused deputy). */
export function ownAccount(scope: Construct): { readonly StringEquals: Readonly<Record<string, string>> } {
  return { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } }
}

/** Without the `:*` of its streams, as API Gateway wants it. */
export function logGroupArn(scope: Construct, { logGroupName }: ILogGroup): string {
  return arn(scope, 'logs', `log-group:${logGroupName}`)
}

function hasWildcard({ actions, resources }: Grant): boolean {
  return [...actions, ...resources].some((text) => text.includes('*'))
}

export const REASONS = 'crystal-forge:reasons'
