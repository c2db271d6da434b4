import {
  type App,
  type IPolicyValidationContext,
  type IPolicyValidationPlugin,
  type PolicyValidationPluginReport,
  Stack,
} from 'aws-cdk-lib'
import { CfnManagedPolicy } from 'aws-cdk-lib/aws-iam'
import { AwsSolutionsChecks, NIST80053R5Checks, rules } from 'cdk-nag'
import { acknowledge } from './acknowledge.ts'
import { REASONS } from './grants.ts'

/** What every synthesis has to pass: both rule packs, without a finding that nobody gave a reason for. */
export function checks(app: App): IPolicyValidationPlugin[] {
  return [new SolutionsChecks(app), new NIST80053R5Checks(app)]
}

/** Takes the reasons that stand beside wildcards in the templates as acknowledgements of cdk-nag's findings about them. */
class SolutionsChecks extends AwsSolutionsChecks {
  readonly #app: App

  constructor(app: App) {
    super(app)
    this.#app = app
  }

  override validate(context: IPolicyValidationContext): PolicyValidationPluginReport {
    acknowledgeWildcards(this.#app)
    return super.validate(context)
  }
}

/** `RULE CONSTRUCT` for every finding of both packs that nobody gave a reason for. */
export function findings(app: App): string[] {
  acknowledgeWildcards(app)
  return [new AwsSolutionsChecks(app), new NIST80053R5Checks(app)]
    .flatMap((pack) => pack.validateScope(app).violations)
    .flatMap(({ ruleName, violatingResources }) =>
      violatingResources.map(({ constructPath }) => `${ruleName} ${constructPath}`),
    )
}

/** Only now, because a finding quotes references between stacks, which have their names when templates are written. */
function acknowledgeWildcards(app: App): void {
  for (const node of app.node.findAll()) {
    if (!(node instanceof CfnManagedPolicy)) continue
    const reasons: unknown = Stack.of(node).resolve(node.getMetadata(REASONS))
    const findings = rules.iam.IAMNoWildcardPermissions(node)
    if (typeof reasons !== 'object' || reasons === null || !Array.isArray(findings)) continue
    const text = Object.values(reasons).join('; ')
    acknowledge(node, Object.fromEntries(findings.map((finding) => [`AwsSolutions-IAM5[${finding}]`, text])))
  }
}
