import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { ControlPlane } from './control-plane.ts'
import type { Log } from './log.ts'

export type Progress = {
  readonly phase: string
  readonly done: number
  readonly total: number
  readonly unit: string
  readonly note?: string
}

/** Why a job must stop before it is done. */
export type Ending = 'lost' | 'cancelled' | 'stopping'

export type Lease = {
  /** Aborts when the job must stop; `reason` is an `Ending`. */
  readonly signal: AbortSignal
  /** What the next heartbeat says; a person who waits sees it. */
  report(progress: Progress): void
  /** Ends the heartbeats. Resolves when none is under way. */
  release(): Promise<void>
}

export type LeaseOptions = {
  readonly job: string
  readonly fence: number
  readonly leaseS: number
  readonly controlPlane: ControlPlane
  /** Extends what the queue hides, so that the hint does not come to another builder meanwhile. */
  readonly extendHint: (seconds: number) => Promise<void>
  readonly stop: AbortSignal
  readonly log: Log
}

/**
 * Keeps a claimed job ours: a heartbeat every third of the lease. The job stops when the control plane says that the
 * fence is old or that it was cancelled, and when nobody answered for a whole lease: then another builder may have it.
 */
export function holdLease(options: LeaseOptions): Lease {
  const ended = new AbortController()
  const released = new AbortController()
  let progress: Progress | undefined
  let answeredAt = performance.now()
  const end = (why: Ending): void => {
    if (!ended.signal.aborted) ended.abort(why)
  }
  const onStop = (): void => end('stopping')
  options.stop.addEventListener('abort', onStop, { once: true })
  if (options.stop.aborted) onStop()
  const beat = async (): Promise<void> => {
    const body = { v: 1, fence: options.fence, ...(progress === undefined ? {} : { progress }) }
    const answer = await options.controlPlane.call(
      `/v1/builder/jobs/${options.job}/heartbeat`,
      body,
      heartbeatAnswer,
    )
    if (answer.kind === 'ok') {
      answeredAt = performance.now()
      if (answer.body.cancel) end('cancelled')
      await options.extendHint(answer.body.lease_s).catch(() => {})
    } else if (answer.kind === 'refused') {
      options.log.warn({ job: options.job, code: answer.code, detail: answer.detail }, 'the lease is lost')
      end('lost')
    } else if (performance.now() - answeredAt > options.leaseS * 1000) {
      options.log.warn(
        { job: options.job, why: answer.why },
        'no answer for a whole lease: the job is given up',
      )
      end('lost')
    }
  }
  const loop = async (): Promise<void> => {
    const pause = (options.leaseS * 1000) / 3
    while (!released.signal.aborted && !ended.signal.aborted) {
      await sleep(pause, undefined, { signal: released.signal }).catch(() => {})
      if (!released.signal.aborted && !ended.signal.aborted) await beat()
    }
  }
  const running = loop()
  return {
    signal: ended.signal,
    report(next) {
      progress = next
    },
    async release() {
      released.abort()
      options.stop.removeEventListener('abort', onStop)
      await running
    },
  }
}

const heartbeatAnswer = z.object({ lease_s: z.int().min(1), cancel: z.boolean() })
