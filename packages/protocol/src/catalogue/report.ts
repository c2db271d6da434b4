import * as z from 'zod'
import { NORMALISERS, OPERATORS } from './rule.ts'

export const RULE_STATES = [
  'active',
  'inactive',
  'justified',
  'not-applicable',
  'unsupported',
  'manual',
] as const
export type RuleState = (typeof RULE_STATES)[number]

const expected = z.looseObject({
  option: z.string().max(500),
  op: z.enum(OPERATORS),
  value: z.json().optional(),
  arg: z.string().max(500).optional(),
  normalise: z.array(z.enum(NORMALISERS)).max(4).optional(),
})
const actual = z.looseObject({
  value: z.json().optional(),
  because: z.string().max(2000).optional(),
  verdict: z.enum(['true', 'false', 'unknown', 'unsupported']),
})

/** What a configuration says of the waiver that its author relies on: claims, compared with what the server knows. */
const claimedWaiver = z.looseObject({
  id: z.string().max(100),
  justification: z.string().max(4000),
  approvedBy: z.string().max(200),
  expires: z.string().max(40),
})

const reportedRule = z.looseObject({
  state: z.enum(RULE_STATES),
  expected: z.array(expected).max(50),
  actual: z.array(actual).max(50),
  definedIn: z.array(z.string().max(1000)).max(100),
  fact: z.looseObject({ path: z.string(), value: z.json().optional(), because: z.string() }).optional(),
  waiver: claimedWaiver.nullable().optional(),
  justification: z.array(z.string().max(4000)).max(50).optional(),
})

/**
 * `/etc/crystal-forge/stig-report.json`: what the final configuration of a system says of every rule. Part of the system's
 * closure, and read by the evaluator together with the path of that system.
 */
export const stigReport: z.ZodType<StigReport> = z.looseObject({
  schema: z.literal(1),
  release: z.string().regex(/^V[0-9]+R[0-9]+$/),
  catalogueSha256: z.string().regex(/^[0-9a-f]{64}$/),
  nixpkgsRev: z.string().max(100).nullable().optional(),
  configuration: z.string().max(200),
  /** Values of the site, by the name of the parameter. */
  params: z.record(z.string(), z.json()).optional(),
  rules: z.record(z.string().regex(/^V-[0-9]{6}$/), reportedRule),
})
export type StigReport = {
  schema: 1
  release: string
  catalogueSha256: string
  nixpkgsRev?: string | null | undefined
  configuration: string
  params?: Record<string, z.core.util.JSONType> | undefined
  rules: Record<string, ReportedRule>
}
export type ReportedRule = z.infer<typeof reportedRule>
export type ClaimedWaiver = z.infer<typeof claimedWaiver>
