import { setTimeout as sleep } from 'node:timers/promises'
import {
  backoffMs,
  type ClaimAnswer,
  claimAnswer,
  type JobHint,
  type JobKind,
  jobHint,
} from '@crystal-forge/protocol'
import type { Answer, ControlPlane } from './control-plane.ts'
import type { Log } from './log.ts'

/** A message of the queue: the hint, and what to tell the queue about it. */
export type Hint = {
  readonly body: string
  /** Nobody needs it any more. */
  delete(): Promise<void>
  /** Hides it for so many seconds from now; 0 gives it back. */
  hide(seconds: number): Promise<void>
}

export type HintQueue = {
  /** Waits up to 20 s for one message; null when none came or the signal aborted. Throws when the queue does not answer. */
  receive(signal: AbortSignal): Promise<Hint | null>
}

export type Claimed = Extract<ClaimAnswer, { claimed: true }>

export type WorkLoop = {
  readonly kind: JobKind
  /** How many jobs of this kind run at a time. */
  readonly lanes: number
  readonly queue: HintQueue
  readonly controlPlane: Pick<ControlPlane, 'call'>
  readonly stop: AbortSignal
  readonly log: Log
  /** Why no job may begin now, if there is a reason; asked before each. */
  readonly obstacle?: () => Promise<string | undefined>
  /** Does the job to its end, whatever that is; never throws. */
  readonly work: (claimed: Claimed, hint: Hint | null) => Promise<void>
}

/**
 * Takes jobs of one kind until `stop` aborts, then ends what is in hand. A hint only says where to look; the claim
 * decides. Without hints the control plane is asked now and then, so that a lost message costs time and nothing else.
 */
export async function runWorkLoop(loop: WorkLoop): Promise<void> {
  await Promise.all(Array.from({ length: loop.lanes }, () => lane(loop)))
}

async function lane(loop: WorkLoop): Promise<void> {
  let failures = 0
  while (!loop.stop.aborted) {
    if ((await loop.obstacle?.()) !== undefined) {
      await pause(OBSTACLE_PAUSE_MS, loop.stop)
      continue
    }
    const hint = await nextHint(loop)
    if (loop.stop.aborted) {
      await hint?.hide(0).catch(() => {})
      return
    }
    const parsed = hint === null ? undefined : readHint(hint.body)
    if (hint !== null && parsed === undefined) {
      loop.log.warn({ kind: loop.kind }, 'a message that is no hint was removed from the queue')
      await hint.delete().catch(() => {})
      continue
    }
    failures = (await claimAndWork(loop, hint, parsed)) ? 0 : failures + 1
    if (failures > 0) await pause(UNANSWERED_PAUSE_MS * 2 ** Math.min(failures - 1, DOUBLINGS_MAX), loop.stop)
  }
}

/** @returns false when the control plane gave no answer that helps; asking again at once would not either. */
async function claimAndWork(
  loop: WorkLoop,
  hint: Hint | null,
  parsed: JobHint | undefined,
): Promise<boolean> {
  const wanted = parsed === undefined ? {} : { job: parsed.job, attempt: parsed.attempt }
  const body = { v: 1, kinds: [loop.kind], ...wanted }
  const answer = await loop.controlPlane.call('/v1/builder/claims', body, claimAnswer)
  if (answer.kind !== 'ok') {
    await notClaimed(loop, hint, answer)
    return false
  }
  if (answer.body.claimed) {
    await loop.work(answer.body, hint)
    return true
  }
  if (answer.body.because === 'not-yet') await hint?.hide(answer.body.retry_in_s ?? 5).catch(() => {})
  else await hint?.delete().catch(() => {})
  return true
}

async function notClaimed(
  loop: WorkLoop,
  hint: Hint | null,
  answer: Exclude<Answer<ClaimAnswer>, { kind: 'ok' }>,
): Promise<void> {
  const why = answer.kind === 'refused' ? `${answer.code} ${answer.detail}` : answer.why
  loop.log.warn({ kind: loop.kind, why }, 'no job could be claimed')
  await hint?.hide(UNANSWERED_PAUSE_MS / 1000).catch(() => {})
  if (answer.kind === 'unanswered' && answer.retryAfterMs !== undefined)
    await sleep(Math.min(answer.retryAfterMs, RETRY_AFTER_MS_MAX), undefined, { signal: loop.stop }).catch(
      () => {},
    )
}

async function nextHint(loop: WorkLoop): Promise<Hint | null> {
  try {
    return await loop.queue.receive(loop.stop)
  } catch (error) {
    if (loop.stop.aborted) return null
    loop.log.warn({ kind: loop.kind, error }, 'the queue did not answer; asking the control plane directly')
    await pause(UNANSWERED_PAUSE_MS, loop.stop)
    return null
  }
}

function readHint(body: string): JobHint | undefined {
  try {
    return jobHint.safeParse(JSON.parse(body)).data
  } catch {
    return undefined
  }
}

/** Between half and one and a half of it, so that builders that lost the same server do not come back together. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const jittered = ms / 2 + backoffMs({ attempt: 1, baseMs: ms, maxMs: ms, random: Math.random() })
  await sleep(jittered, undefined, { signal }).catch(() => {})
}

/** Short enough to be back with the control plane, long enough not to press on one that is starting. */
const UNANSWERED_PAUSE_MS = 2000
/** Two seconds doubled five times is about a minute. */
const DOUBLINGS_MAX = 5
const RETRY_AFTER_MS_MAX = 300_000
/** Space does not come back by itself; somebody cleans up. */
const OBSTACLE_PAUSE_MS = 30_000
