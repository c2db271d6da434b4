import * as z from 'zod'

/** How a value is compared; the vectors of `catalogue/operators.json` define each. */
export const OPERATORS = [
  'eq',
  'ne',
  'in',
  'le',
  'ge',
  'between',
  'absent',
  'present',
  'orderedEq',
  'subset',
  'contains',
  'excludes',
  'matches',
  'bitsWithin',
  'bitsCover',
] as const
export type Operator = (typeof OPERATORS)[number]

/** What is done to a value before it is compared. Several are applied in the order of the list. */
export const NORMALISERS = [
  'text',
  'lines',
  'audit-rule',
  'octal',
  'seconds',
  'kv',
  'kv-all',
  'int',
  'limits',
  'limit-values',
  'pam',
  'pam-module',
  'pam-control',
  'pam-args',
  'sudo-default',
  'sudo-without-password',
] as const
export type Normaliser = (typeof NORMALISERS)[number]

const path = z.array(z.string().min(1)).min(1)
/** A name of a release of the benchmark, such as V1R2. */
const release = z.string().regex(/^V[0-9]+R[0-9]+$/)

/** Parts that every comparison has. `{ "param": name }` inside of `value` stands for a parameter of the site. */
const comparison = {
  op: z.enum(OPERATORS),
  value: z.json().optional(),
  arg: z.string().min(1).optional(),
  normalise: z.array(z.enum(NORMALISERS)).min(1).max(4).optional(),
  releases: z.array(release).min(1).optional(),
}

const expectOption = z.strictObject({ option: path, key: path.optional(), ...comparison })
const expectation = z.union([
  expectOption,
  z.strictObject({ anyOf: z.array(expectOption).min(2), releases: comparison.releases }),
])

const runtimeCheck = z.strictObject({
  collector: z.string().regex(/^[a-z][a-z0-9-]*$/),
  args: z.record(z.string(), z.json()),
  field: z.array(z.string()).min(1).optional(),
  ...comparison,
})

const human = z.strictObject({
  need: z.enum(['no', 'cond', 'yes']),
  kind: z.enum(['attestation', 'document', 'external', 'approval']).optional(),
  prompt: z.string().min(1).optional(),
  maxAgeDays: z.int().min(1).max(3650).optional(),
})

/** The words of DISA, never edited; `provenance` says where each text is from. */
const words = z.strictObject({
  ruleId: z.string().regex(/^SV-[0-9]+r[0-9]+(_rule)?$/),
  checkId: z.string().min(1),
  fixId: z.string().min(1),
  title: z.string().min(1),
  discussion: z.string(),
  check: z.string().min(1),
  fix: z.string().min(1),
  provenance: z.strictObject({ discussion: z.string(), check: z.string(), fix: z.string() }),
})

const parameter = z.strictObject({
  name: z.string().regex(/^[a-z][A-Za-z0-9]*$/),
  type: z.enum([
    'bool',
    'str',
    'lines',
    'nullOr str',
    'nullOr lines',
    'nullOr path',
    'listOf str',
    'attrsOf str',
  ]),
  default: z.json(),
  description: z.string().min(1),
})

/** One file of `catalogue/<benchmark>/rules`: identity, DISA's words for each release, and our judgement of them. */
export const catalogueRule = z
  .strictObject({
    id: z.string().regex(/^V-[0-9]{6}$/),
    stigId: z.string().regex(/^[A-Z]+-[0-9]{2}-[0-9]{6}$/),
    severity: z.enum(['high', 'medium', 'low']),
    /** The rule's own requirement first, then those it satisfies as well. */
    srg: z.array(z.string().regex(/^SRG-OS-[0-9]{6}-GPOS-[0-9]{5}$/)).min(1),
    cci: z.array(z.string().regex(/^CCI-[0-9]{6}$/)).min(1),
    assess: z.strictObject({
      config: z.strictObject({ mode: z.enum(['full', 'partial', 'none']), expect: z.array(expectation) }),
      runtime: z.array(runtimeCheck).min(1),
      human,
    }),
    applicability: z.array(
      z.strictObject({ fact: path, op: z.enum(OPERATORS), value: z.json(), because: z.string().min(1) }),
    ),
    params: z.array(parameter),
    deviations: z.array(
      z.strictObject({ about: z.enum(['check', 'fix', 'title']), judgement: z.string().min(1) }),
    ),
    releases: z.record(release, z.union([words, z.literal('removed')])),
  })
  .superRefine((rule, context) => {
    const { mode, expect } = rule.assess.config
    if ((mode === 'none') !== (expect.length === 0))
      context.addIssue({
        code: 'custom',
        path: ['assess', 'config', 'expect'],
        message: `mode ${mode} with ${expect.length} expectations: a rule is "none" exactly when nothing is expected`,
      })
    if (rule.assess.human.need !== 'no' && rule.assess.human.prompt === undefined)
      context.addIssue({
        code: 'custom',
        path: ['assess', 'human', 'prompt'],
        message: 'a person must be told what to show',
      })
  })
export type CatalogueRule = z.infer<typeof catalogueRule>
export type Expectation = z.infer<typeof expectation>
export type ExpectedOption = z.infer<typeof expectOption>
export type RuntimeCheck = z.infer<typeof runtimeCheck>
export type RuleWords = z.infer<typeof words>
