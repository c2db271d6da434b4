import { setTimeout as sleep } from 'node:timers/promises'
import { jobHeartbeatAnswer } from '@crystal-forge/protocol'
import type { ControlPlane } from './control-plane.ts'
import type { Log } from './log.ts'

export type Progress = {
  readonly phase: string
  readonly done: number
  readonly total: number
  readonly unit: string
  /** One line, at most 300 characters. */
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
  readonly controlPlane: Pick<ControlPlane, 'call'>
  /** Extends what the queue hides, so that the hint does not come to another builder meanwhile. */
  readonly extendHint: (seconds: number) => Promise<void>
  readonly stop: AbortSignal
  readonly log: Log
}

/**
 * Keeps a claimed job ours: a heartbeat every third of the lease, sooner after one that was not answered. The job stops
 * when the control plane says that the fence is old or that it was cancelled, and as soon as a whole lease has passed
 * since the last heartbeat that was answered began: from then on another builder may have it.
 */
export function holdLease(options: LeaseOptions): Lease {
  const ended = new AbortController()
  const released = new AbortController()
  const over = AbortSignal.any([ended.signal, released.signal])
  const end = (why: Ending): void => {
    if (!ended.signal.aborted) ended.abort(why)
  }
  const expiry = expiresUnlessRenewed(options, () => end('lost'))
  const onStop = (): void => end('stopping')
  options.stop.addEventListener('abort', onStop, { once: true })
  if (options.stop.aborted) onStop()
  let progress: Progress | undefined
  const loop = async (): Promise<void> => {
    let pauseMs = (options.leaseS * 1000) / 3
    while (!over.aborted) {
      await sleep(pauseMs, undefined, { signal: over }).catch(() => {})
      if (!over.aborted) pauseMs = await beat(options, { progress, over, end, renew: expiry.renew })
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
      expiry.settle()
      options.stop.removeEventListener('abort', onStop)
      await running
    },
  }
}

type Beat = {
  readonly progress: Progress | undefined
  readonly over: AbortSignal
  readonly end: (why: Ending) => void
  readonly renew: (leaseS: number, fromMs: number) => void
}

/** @returns milliseconds until the next one. */
async function beat(options: LeaseOptions, { progress, over, end, renew }: Beat): Promise<number> {
  const { job, fence, leaseS, log } = options
  const begunMs = performance.now()
  const answer = await options.controlPlane.call(
    `/v1/builder/jobs/${job}/heartbeat`,
    { v: 1, fence, ...(progress === undefined ? {} : { progress }) },
    jobHeartbeatAnswer,
    AbortSignal.any([over, AbortSignal.timeout((leaseS * 1000) / 3)]),
  )
  switch (answer.kind) {
    case 'ok':
      renew(answer.body.lease_s, begunMs)
      if (answer.body.cancel) end('cancelled')
      await options.extendHint(answer.body.lease_s).catch(() => {})
      return (answer.body.lease_s * 1000) / 3
    case 'refused':
      log.warn({ job, code: answer.code, detail: answer.detail }, 'the lease is lost')
      end('lost')
      return 0
    case 'unanswered':
      if (!over.aborted) log.warn({ job, why: answer.why }, 'a heartbeat was not answered; trying again')
      return (leaseS * 1000) / 12
  }
}

function expiresUnlessRenewed(
  { leaseS, job, log }: LeaseOptions,
  expire: () => void,
): { renew(leaseS: number, fromMs: number): void; settle(): void } {
  const onTime = (): void => {
    log.warn({ job }, 'no answer for a whole lease: the job is given up')
    expire()
  }
  let timer = setTimeout(onTime, leaseS * 1000)
  return {
    renew(nextS, fromMs) {
      clearTimeout(timer)
      timer = setTimeout(onTime, Math.max(0, fromMs + nextS * 1000 - performance.now()))
    },
    settle: () => clearTimeout(timer),
  }
}
