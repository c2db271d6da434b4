import type { Page } from '@crystal-forge/postgres'
import { decodeBase64Url } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from './http-api.ts'

type Refused = { readonly ok: false; readonly reply: Reply }
export type ReadQuery<Shape extends z.ZodRawShape> =
  | { readonly ok: true; readonly filter: z.output<z.ZodObject<Shape>> }
  | Refused
export type PagedQuery<Shape extends z.ZodRawShape> =
  | { readonly ok: true; readonly filter: z.output<z.ZodObject<Shape>>; readonly page: Page }
  | Refused

/** Parses the parameters of a route; one that is unknown, repeated or malformed is a 400 that names it. */
export function readQuery<Shape extends z.ZodRawShape>(rawQuery: string, shape: Shape): ReadQuery<Shape> {
  const given = parameters(rawQuery)
  if (!given.ok) return given
  const parsed = z.strictObject(shape).safeParse(given.values)
  if (parsed.success) return { ok: true, filter: parsed.data }
  return refused(parsed.error, given.values, Object.keys(shape))
}

/** The same for a list, which also has `limit` and `cursor`. */
export function paged<Shape extends z.ZodRawShape>(rawQuery: string, shape: Shape): PagedQuery<Shape> {
  const { limit = '50', cursor, ...others } = Object.fromEntries(new URLSearchParams(rawQuery))
  const given = parameters(rawQuery)
  if (!given.ok) return given
  const page = z.strictObject(PAGE).safeParse({ limit, ...(cursor === undefined ? {} : { cursor }) })
  const known = [...Object.keys(shape), ...Object.keys(PAGE)]
  if (!page.success) return refused(page.error, given.values, known)
  const parsed = z.strictObject(shape).safeParse(others)
  if (!parsed.success) return refused(parsed.error, given.values, known)
  return { ok: true, filter: parsed.data, page: { limit: page.data.limit, after: page.data.cursor } }
}

/** A filter that may be absent, which is null to the query. */
export function filter<Schema extends z.ZodType>(schema: Schema): z.ZodDefault<z.ZodNullable<Schema>> {
  return z.nullable(schema).default(null)
}

/** `true` or `false`, as parameters spell it. */
export const yesNo: z.ZodType<boolean, unknown> = z
  .enum(['true', 'false'], 'expected true or false')
  .transform((text) => text === 'true')

function parameters(
  rawQuery: string,
): { readonly ok: true; readonly values: Readonly<Record<string, string>> } | Refused {
  const names = new Set<string>()
  for (const name of new URLSearchParams(rawQuery).keys()) {
    if (names.has(name)) return { ok: false, reply: refuse(`${quoted(name)} stands twice; give it once`) }
    names.add(name)
  }
  return { ok: true, values: Object.fromEntries(new URLSearchParams(rawQuery)) }
}

function refused(
  error: z.ZodError,
  values: Readonly<Record<string, string>>,
  known: readonly string[],
): Refused {
  const [issue] = error.issues
  if (issue?.code === 'unrecognized_keys') {
    const list = known.length === 0 ? 'none are known here' : `known are ${known.join(', ')}`
    return { ok: false, reply: refuse(`the parameter ${quoted(issue.keys[0] ?? '')} is unknown; ${list}`) }
  }
  const name = String(issue?.path[0] ?? '')
  return { ok: false, reply: refuse(`${name} is ${quoted(values[name] ?? '')}: ${issue?.message ?? ''}`) }
}

function refuse(detail: string): Reply {
  return problem(400, 'invalid_parameter', detail)
}

/** JSON escapes control characters, so a value from outside can stand in a message and in a log line. */
function quoted(value: string): string {
  return JSON.stringify(value.slice(0, 100))
}

const cursor = z.string().transform((text, context) => {
  const bytes = text.length <= 500 ? decodeBase64Url(text) : null
  const key = bytes === null ? '' : new TextDecoder().decode(bytes)
  if (/^[\x21-\x7e][\x20-\x7e]{0,299}$/.test(key)) return key
  context.addIssue({ code: 'custom', message: 'expected the next_cursor of the page before' })
  return z.NEVER
})

const PAGE = {
  limit: z
    .string()
    .regex(/^([1-9][0-9]?|1[0-9]{2}|200)$/, 'expected a whole number from 1 to 200')
    .transform(Number),
  cursor: cursor.nullable().default(null),
}
