import * as z from 'zod'

const segment = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/, 'expected letters, digits, "_", "-" and "."')
const dir = z
  .string()
  .max(200)
  .regex(
    /^(?!.*(^|\/)\.{1,2}(\/|$))[A-Za-z0-9_][A-Za-z0-9._/-]*$/,
    'expected a relative directory without ".."',
  )

/** Where a flake lies: parts, composed into a reference by us, never a free string (wire.md, "Flake references"). */
export const flakeSource: z.ZodType<FlakeSource> = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('forge'),
    transport: z.enum(['https', 'ssh']),
    host: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$/, 'expected a host name'),
    /** May have several segments: GitLab has subgroups. */
    owner: z.array(segment).min(1).max(20),
    repo: segment,
    dir: dir.optional(),
  }),
  z.strictObject({
    kind: z.literal('local'),
    /** Absolute; only an administrator's declaration makes one. */
    path: z
      .string()
      .max(500)
      .regex(/^(?!.*(^|\/)\.{1,2}(\/|$))\/[A-Za-z0-9._/-]+$/, 'expected an absolute path without ".."'),
    dir: dir.optional(),
  }),
])
export type FlakeSource =
  | {
      kind: 'forge'
      transport: 'https' | 'ssh'
      host: string
      owner: string[]
      repo: string
      dir?: string | undefined
    }
  | { kind: 'local'; path: string; dir?: string | undefined }
