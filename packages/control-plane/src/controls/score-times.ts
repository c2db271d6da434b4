/** At most so many times are asked about at once, over all pages. */
export const SCORE_TIMES_MAX = 1000

export type ScoreTimes =
  | { readonly ok: true; readonly times: readonly Date[] }
  | { readonly ok: false; readonly detail: string }

/** From `from` in steps to `to`, which is the last one whether or not a step leads to it. */
export function scoreTimes(from: Date, to: Date, stepS: number): ScoreTimes {
  if (from > to)
    return { ok: false, detail: `from is ${from.toISOString()}, which is after to (${to.toISOString()})` }
  const steps = Math.floor((to.getTime() - from.getTime()) / (stepS * 1000))
  if (steps + 2 > SCORE_TIMES_MAX) {
    const least = Math.ceil((to.getTime() - from.getTime()) / 1000 / (SCORE_TIMES_MAX - 2))
    return {
      ok: false,
      detail: `step_s is ${stepS}, which makes ${steps + 1} points; at most ${SCORE_TIMES_MAX} are computed: use at least ${least}`,
    }
  }
  const times = Array.from({ length: steps + 1 }, (_, step) => new Date(from.getTime() + step * stepS * 1000))
  return { ok: true, times: times.at(-1)?.getTime() === to.getTime() ? times : [...times, to] }
}
