import * as z from 'zod'

/** RFC 9457. `type` is `https://crystalforge.dev/problems/<code>`; `code` is what programs read. */
export const problem: z.ZodType<Problem> = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string().optional(),
})
export type Problem = {
  type: string
  title: string
  status: number
  code: string
  /** Which field, what value, what to do. */
  detail?: string | undefined
  errors?: { path: string; message: string }[] | undefined
  server_time?: string | undefined
}

/** The `type` of a problem. */
export function problemType(code: string): string {
  return `https://crystalforge.dev/problems/${code}`
}
export const PROBLEM_MEDIA_TYPE = 'application/problem+json'
