import { parseStrictJson, StrictJsonError } from '@crystal-forge/protocol'
import type * as z from 'zod'
import { problem, type Reply } from './http-api.ts'

export type ReadBody<Body> =
  | { readonly ok: true; readonly value: Body }
  | { readonly ok: false; readonly reply: Reply }

/** Parses a JSON body; an empty one is `{}`. A refusal names the field and its value, unless it is a secret. */
export function readBody<Body>(bytes: Uint8Array, schema: z.ZodType<Body, unknown>): ReadBody<Body> {
  const json = parse(bytes)
  if (!json.ok) return json
  const parsed = schema.safeParse(json.value)
  return parsed.success
    ? { ok: true, value: parsed.data }
    : { ok: false, reply: invalidBody(json.value, parsed.error) }
}

/** The body as JSON, for a schema that is made of it later. */
export function parse(bytes: Uint8Array): ReadBody<unknown> {
  if (bytes.length === 0) return { ok: true, value: {} }
  try {
    return { ok: true, value: parseStrictJson(bytes) }
  } catch (error) {
    if (error instanceof StrictJsonError)
      return { ok: false, reply: problem(400, 'invalid_json', error.message) }
    throw error
  }
}

/** 422 with every fault. `drop` leading members of each path are not part of what the caller has sent. */
export function invalidBody(value: unknown, error: z.ZodError, drop = 0): Reply {
  const errors = error.issues.slice(0, ERRORS_MAX).map((issue) => {
    const path = issue.path.slice(drop).map(String).join('.')
    return {
      path,
      message: `${path === '' ? 'the body' : path}${shown(value, issue.path)}: ${issue.message}`,
    }
  })
  return problem(422, 'invalid_body', errors[0]?.message ?? 'the body has another shape', { errors })
}

function shown(value: unknown, path: readonly PropertyKey[]): string {
  if (path.some((member) => /secret|token|password/i.test(String(member)))) return ''
  let at: unknown = value
  for (const member of path) at = typeof at === 'object' && at !== null ? Reflect.get(at, member) : undefined
  if (typeof at === 'object' && at !== null) return ''
  return at === undefined ? ' is missing' : ` is ${JSON.stringify(at).slice(0, 120)}`
}

/** A body with thousands of entries may be wrong in each of them. */
const ERRORS_MAX = 20
