import type * as z from 'zod'
import { parseStrictJson, StrictJsonError } from '../strict-json.ts'
import { type Refusal, refuse } from './refusal.ts'

/** Parses a body once, from the bytes that were digested: strict JSON, then the schema. The detail names the field. */
export function parseSignedBody<Schema extends z.ZodType>(
  body: Uint8Array,
  schema: Schema,
): { readonly ok: true; readonly value: z.output<Schema> } | Refusal {
  let data: unknown
  try {
    data = parseStrictJson(body)
  } catch (error) {
    if (error instanceof StrictJsonError) return refuse('malformed_json', error.message)
    throw error
  }
  const result = schema.safeParse(data)
  if (result.success) return { ok: true, value: result.data }
  const issue = result.error.issues[0]
  const where = issue === undefined || issue.path.length === 0 ? 'the body' : issue.path.join('.')
  return refuse('invalid_body', `${where}: ${issue?.message ?? 'not as expected'}`)
}

/** The key says who speaks; a body that names another system or host is refused. Absent names are not compared. */
export function checkIdentity(
  own: { readonly system: string; readonly hostname?: string },
  named: { readonly system?: string | undefined; readonly hostname?: string | undefined },
): Refusal | null {
  if (named.system !== undefined && named.system !== own.system) {
    return refuse('identity_mismatch', 'The body names another system than the key.')
  }
  if (own.hostname !== undefined && named.hostname !== undefined && named.hostname !== own.hostname) {
    return refuse('identity_mismatch', 'The body names another host than the key.')
  }
  return null
}
