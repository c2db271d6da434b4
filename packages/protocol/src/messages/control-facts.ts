import * as z from 'zod'
import { hexSha256, hostname, instant, line, reportId, storePathText } from './primitives.ts'

const collector = z
  .string()
  .max(64)
  .regex(/^[a-z][a-z0-9-]*$/, 'expected the name of a collector')

/** Plain JSON as deep as the values of collectors go, and without NUL, which PostgreSQL cannot store. */
const json = (depthMax: number): z.ZodType<z.core.util.JSONType> =>
  z
    .json()
    .refine((value) => isStorable(value, depthMax), `expected JSON without NUL, ${depthMax} levels deep`)

const asked = {
  /** A name of `catalogue/collectors.json`, with the arguments that were given to it. */
  collector,
  args: z.record(line(64), json(4)),
  collected_at: instant,
}

/** One answer of one collector: the value as it was found, or why there is none. A host sends values, never verdicts. */
const controlFact = z.union([
  z.strictObject({ ...asked, value: json(8) }),
  z.strictObject({
    ...asked,
    error: z.strictObject({
      code: z.enum([
        'absent',
        'not_permitted',
        'unreadable',
        'timeout',
        'too_large',
        'unsupported',
        'failed',
      ]),
      detail: line(500),
    }),
  }),
])

/** `POST /v1/agent/control-facts`: what the collectors of a host found, in the order of their questions. */
const schema = z.strictObject({
  v: z.literal(1),
  /** Made by the host; a retry carries it again. */
  message_id: reportId,
  system: line(64).optional(),
  hostname,
  collected_at: instant,
  boot_id: line(64).nullable(),
  /** Targets of /run/current-system and /run/booted-system while the facts were read. */
  current_path: storePathText,
  booted_path: storePathText.nullable(),
  /** Of /etc/crystal-forge/stig-report.json in the current system; null when it has none. */
  stig_report_sha256: hexSha256.nullable(),
  /** Counts the messages of a host from 1; with the hash of the message before, a lost or withheld one is noticed. */
  sequence: z.int().min(1),
  /** SHA-256 of the body of the message before; null for the first. */
  previous_sha256: hexSha256.nullable(),
  agent_version: line(64),
  facts: z.array(controlFact).max(256),
})

export type ControlFact = z.infer<typeof controlFact>
export type ControlFacts = z.infer<typeof schema>
export const controlFacts: z.ZodType<ControlFacts> = schema

/** 202 for a new message, 200 for one that was recorded before, with its first time. */
export type ControlFactsAnswer = { server_time: string }

function isStorable(value: z.core.util.JSONType, depthMax: number): boolean {
  if (typeof value === 'string') return !value.includes('\0')
  if (value === null || typeof value !== 'object') return true
  if (depthMax === 0) return false
  return Object.entries(value).every(([key, part]) => !key.includes('\0') && isStorable(part, depthMax - 1))
}
