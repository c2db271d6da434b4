import { setTimeout as sleep } from 'node:timers/promises'
import {
  type BuilderHelloAnswer,
  type ClaimAnswer,
  claimAnswer,
  type JobHint,
  type JobKind,
  jobHint,
} from '@crystal-forge/protocol'
import type { ControlPlane } from './control-plane.ts'
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
  readonly controlPlane: ControlPlane
  readonly session: BuilderHelloAnswer
  readonly stop: AbortSignal
  readonly log: Log
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
  while (!loop.stop.aborted) {
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
    await claimAndWork(loop, hint, parsed)
  }
}

async function claimAndWork(loop: WorkLoop, hint: Hint | null, parsed: JobHint | undefined): Promise<void> {
  const wanted = parsed === undefined ? {} : { job: parsed.job, attempt: parsed.attempt }
  const body = { v: 1, kinds: [loop.kind], ...wanted }
  const answer = await loop.controlPlane.call('/v1/builder/claims', body, claimAnswer)
  if (answer.kind !== 'ok') {
    const why = answer.kind === 'refused' ? `${answer.code} ${answer.detail}` : answer.why
    loop.log.warn({ kind: loop.kind, why }, 'no job could be claimed')
    await hint?.hide(UNANSWERED_PAUSE_S).catch(() => {})
    await pause(UNANSWERED_PAUSE_S, loop.stop)
    return
  }
  if (answer.body.claimed) {
    await loop.work(answer.body, hint)
    return
  }
  if (answer.body.because === 'not-yet') await hint?.hide(answer.body.retry_in_s ?? 5).catch(() => {})
  else await hint?.delete().catch(() => {})
}

async function nextHint(loop: WorkLoop): Promise<Hint | null> {
  try {
    return await loop.queue.receive(loop.stop)
  } catch (error) {
    if (loop.stop.aborted) return null
    loop.log.warn({ kind: loop.kind, error }, 'the queue did not answer; asking the control plane directly')
    await pause(UNANSWERED_PAUSE_S, loop.stop)
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

async function pause(seconds: number, signal: AbortSignal): Promise<void> {
  await sleep(seconds * 1000 * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
}

/** Short enough to be back with the control plane, long enough not to press on one that is starting. */
const UNANSWERED_PAUSE_S = 2
