import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '@crystal-forge/protocol'
import type { Answer } from './control-plane.ts'
import type { Log } from './log.ts'

/**
 * Repeats a call until somebody answers, with exponential backoff and full jitter, honouring `Retry-After`. Ends
 * unanswered when `signal` aborts. Only for calls whose effect is fenced, so that a lost answer does no harm.
 */
export async function persistently<Body>(
  what: string,
  call: () => Promise<Answer<Body>>,
  options: { readonly signal: AbortSignal; readonly log: Log },
): Promise<Answer<Body>> {
  for (let attempt = 1; ; attempt++) {
    const answer = await call()
    if (answer.kind !== 'unanswered' || options.signal.aborted) return answer
    const waitMs = backoffMs({
      attempt,
      baseMs: 250,
      maxMs: 30_000,
      random: Math.random(),
      ...(answer.retryAfterMs === undefined ? {} : { retryAfterMs: answer.retryAfterMs }),
    })
    options.log.warn(
      { what, why: answer.why, attempt, waitMs },
      'the control plane did not answer; trying again',
    )
    await sleep(waitMs, undefined, { signal: options.signal }).catch(() => {})
  }
}
