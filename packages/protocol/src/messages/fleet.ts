import * as z from 'zod'
import {
  configurationName,
  environmentName,
  hostname,
  line,
  namesConfiguration,
  publicKeyText,
  storePathText,
} from './primitives.ts'

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected letters, digits, ".", "_" and "-"')

const flake = z.strictObject({
  name,
  /** Any of the forms users have; `compatibility.md` 1.3. A local path needs `local = true`. */
  repo_url: line(500),
  branch: line(200).optional(),
  local: z.boolean().default(false),
  auto_poll: z.boolean().default(true),
  poll_interval_s: z.int().min(10).max(86_400).default(600),
  initial_commit_depth: z.int().min(1).max(100).default(5),
})
const hook = z.strictObject({
  flake: name,
  provider: z.enum(['github', 'gitlab', 'gitea', 'forgejo', 'bitbucket']),
  /** Read from `secret_file` by the client; at least 16 bytes. Never in the document that lies in git. */
  secret: z.string().min(16).max(512).optional(),
})
const environment = z.strictObject({
  name: environmentName,
  description: line(500).default(''),
  is_active: z.boolean().default(true),
  risk_profile: line(64).default('MEDIUM'),
  compliance_level: line(64).default('NONE'),
})
const builder = z.strictObject({ name, public_key: publicKeyText })
const system = z.strictObject({
  hostname,
  public_key: publicKeyText.optional(),
  environment: environmentName.optional(),
  flake_name: name.nullable().optional(),
  /** Which configuration of the flake; the host name when absent. */
  configuration: configurationName.optional(),
  deployment_policy: z.enum(['manual', 'auto_latest', 'pinned']).default('manual'),
  desired_target: storePathText.nullable().optional(),
})

/** The declared state of a tenant: `fleet.toml` after parsing. `PUT /v1/fleet?dry_run=true&prune=true`. */
export const fleetDocument: z.ZodType<FleetDocument, unknown> = z
  .strictObject({
    environments: z.array(environment).max(200).default([]),
    flakes: z.array(flake).max(500).default([]),
    hooks: z.array(hook).max(500).default([]),
    builders: z.array(builder).max(500).default([]),
    systems: z.array(system).max(5000).default([]),
  })
  .superRefine((fleet, context) => {
    for (const [index, system] of fleet.systems.entries())
      if (typeof system.flake_name === 'string' && !namesConfiguration(system))
        context.addIssue({
          code: 'custom',
          path: ['systems', index, 'configuration'],
          message: 'the host name is too long for the name of a configuration; name one',
        })
    unique(
      context,
      'environments',
      fleet.environments.map((e) => e.name),
    )
    unique(
      context,
      'flakes',
      fleet.flakes.map((f) => f.name),
    )
    unique(
      context,
      'builders',
      fleet.builders.map((b) => b.name),
    )
    unique(
      context,
      'systems',
      fleet.systems.map((s) => s.hostname),
    )
    unique(
      context,
      'hooks',
      fleet.hooks.map((h) => `${h.flake}/${h.provider}`),
    )
  })

function unique(context: z.RefinementCtx, section: string, names: string[]): void {
  const seen = new Set<string>()
  names.forEach((value, index) => {
    if (seen.has(value))
      context.addIssue({ code: 'custom', path: [section, index], message: `"${value}" stands twice` })
    seen.add(value)
  })
}

export type FleetDocument = {
  environments: z.infer<typeof environment>[]
  flakes: z.infer<typeof flake>[]
  hooks: z.infer<typeof hook>[]
  builders: z.infer<typeof builder>[]
  systems: z.infer<typeof system>[]
}

/** One step of a plan. `secret` values never stand in `changes`. */
export type FleetChange = {
  action: 'create' | 'update' | 'deactivate' | 'reactivate' | 'keep'
  kind: 'environment' | 'flake' | 'hook' | 'builder' | 'system' | 'key'
  name: string
  changes?: Record<string, { from: unknown; to: unknown }>
  /** Of a hook: where the forge must deliver. */
  path?: string
  /** What a reader of the plan should know about this step. */
  note?: string
}
export type FleetPlan = {
  applied: boolean
  changes: FleetChange[]
  /** What is registered but not declared, and stays because `prune` was not asked for. */
  undeclared: { kind: 'flake' | 'hook' | 'builder' | 'system'; name: string }[]
}
