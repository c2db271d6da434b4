import * as z from 'zod'
import { NORMALISERS, OPERATORS } from './rule.ts'

const ruleId = z.string().regex(/^V-[0-9]{6}$/)

/** `catalogue/<benchmark>/benchmark.json` */
export const catalogueBenchmark = z.strictObject({
  id: z.string().min(1),
  title: z.string().min(1),
  current: z.string().min(1),
  releases: z
    .array(
      z.strictObject({
        id: z.string().regex(/^V[0-9]+R[0-9]+$/),
        date: z.iso.date(),
        rules: z.int().min(1),
        source: z.string().min(1),
        /** Whether the texts are those of the publisher, letter for letter. */
        verbatim: z.boolean(),
      }),
    )
    .min(1),
  licence: z.string().min(1),
})
export type CatalogueBenchmark = z.infer<typeof catalogueBenchmark>

/** `aliases.json`: the control names that users know, and the rules behind each. */
export const catalogueAliases = z.record(
  z.string().regex(/^[a-z][a-z0-9_-]*$/),
  z.strictObject({ rules: z.array(ruleId).min(1) }),
)
export type CatalogueAliases = z.infer<typeof catalogueAliases>

/** `cci.json` */
export const cciTable = z.strictObject({
  source: z.record(z.string(), z.string()),
  ccis: z.record(
    z.string().regex(/^CCI-[0-9]{6}$/),
    z.strictObject({
      /** NIST SP 800-53 r5; null where the list names none. */
      control: z.string().nullable(),
      statement: z.string().nullable(),
      r4: z.string().nullable(),
      definition: z.string().min(1),
    }),
  ),
})
export type CciTable = z.infer<typeof cciTable>

/** `srg/gpos.json`. Keyed on `vulnId`: one SRG id occurs twice. */
export const srgTable = z.strictObject({
  source: z.record(z.string(), z.string()),
  /** Ids that rules name although the current release of the SRG no longer has them. */
  retired: z.array(z.string()),
  requirements: z.array(
    z.strictObject({
      id: z.string().min(1),
      vulnId: ruleId,
      severity: z.enum(['high', 'medium', 'low']),
      title: z.string().min(1),
      cci: z.array(z.string()),
      nist: z.array(z.string()),
    }),
  ),
})
export type SrgTable = z.infer<typeof srgTable>

/** `collectors.json`: the closed set of what a host is asked, with the schema of arguments and values. */
export const collectorTable = z.record(
  z.string().regex(/^[a-z][a-z0-9-]*$/),
  z.strictObject({
    reads: z.string().min(1),
    /** A host must not send what could be a secret: predicates only. */
    predicatesOnly: z.boolean(),
    freshForHours: z.int().min(1),
    args: z.record(z.string(), z.json()),
    value: z.record(z.string(), z.json()),
  }),
)
export type CollectorTable = z.infer<typeof collectorTable>

/** `operators.json`: what each operator says, the same in Nix and in TypeScript. `actual` absent means missing. */
export const operatorVectors = z.array(
  z.strictObject({
    op: z.enum(OPERATORS),
    actual: z.json().optional(),
    expected: z.json().optional(),
    arg: z.string().optional(),
    normalise: z.array(z.enum(NORMALISERS)).optional(),
    verdict: z.enum(['true', 'false', 'unknown']),
    about: z.string().optional(),
  }),
)
export type OperatorVectors = z.infer<typeof operatorVectors>
