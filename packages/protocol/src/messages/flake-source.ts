import * as z from 'zod'

const segment = '[A-Za-z0-9_~][A-Za-z0-9._~+-]{0,99}'
const dir = z
  .string()
  .max(200)
  .regex(
    /^(?!.*(^|\/)\.{1,2}(\/|$))[A-Za-z0-9_][A-Za-z0-9._/+-]*$/,
    'expected a relative directory without ".."',
  )

/** Where a flake lies: parts, composed into a reference by us, never a free string (wire.md, "Flake references"). */
export const flakeSource: z.ZodType<FlakeSource> = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('forge'),
    via: z.enum(['https', 'ssh']),
    /** Lower case, with `:port` where it is not the usual one. */
    host: z.string().regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$/, 'expected a host name'),
    /** May have several segments, `group/subgroup`: GitLab has them. */
    owner: z
      .string()
      .regex(new RegExp(`^${segment}(/${segment}){0,18}$`), 'expected an owner, or groups with "/"'),
    repo: z.string().regex(new RegExp(`^${segment}$`), 'expected the name of a repository'),
    dir: dir.optional(),
  }),
  z.strictObject({
    kind: z.literal('local'),
    /** Absolute; only an administrator's declaration makes one. */
    path: z
      .string()
      .max(500)
      .regex(/^(?!.*\/\.{1,2}(\/|$))(\/[A-Za-z0-9_.+@~-]+)+$/, 'expected an absolute path without ".."'),
    dir: dir.optional(),
  }),
])
export type FlakeSource =
  | {
      kind: 'forge'
      via: 'https' | 'ssh'
      host: string
      owner: string
      repo: string
      dir?: string | undefined
    }
  | { kind: 'local'; path: string; dir?: string | undefined }
