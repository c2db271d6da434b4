import type { Answer } from '../raw-http.ts'
import type { HostileWorld } from './hostile-world.ts'

/**
 * What is sent, and exactly what is answered. `code` is that of the problem; null stands for an answer without one: what
 * the HTTP parser refuses, and deliveries that are acknowledged without effect.
 */
export type HostileCase = {
  readonly name: string
  readonly send: (world: HostileWorld) => Promise<Answer | null>
  readonly status: number
  readonly code: string | null
  /** What the text of the answer must name: field, value, remedy. */
  readonly words: readonly string[]
}

export type Row = readonly [
  name: string,
  send: (world: HostileWorld) => Promise<Answer | null>,
  status: number,
  code: string | null,
  ...words: string[],
]

export function cases(area: string, rows: readonly Row[]): HostileCase[] {
  return rows.map(([name, send, status, code, ...words]) => ({
    name: `${area}: ${name}`,
    send,
    status,
    code,
    words,
  }))
}
