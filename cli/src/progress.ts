import * as z from 'zod'
import { oneLine } from './table.ts'

const progress = z.object({
  phase: z.string(),
  done: z.number(),
  total: z.number(),
  unit: z.string(),
  note: z.string().optional(),
})

/** How far a job is, as its builder said last: `push 3/40 paths`; null when it said nothing. */
export function progressText(value: unknown): string | null {
  const parsed = progress.safeParse(value)
  if (!parsed.success) return null
  const { phase, done, total, unit, note } = parsed.data
  return oneLine(`${phase} ${done}/${total} ${unit}${note === undefined ? '' : `, ${note}`}`)
}
