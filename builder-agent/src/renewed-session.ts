import { isDeepStrictEqual } from 'node:util'
import type { BuilderHelloAnswer } from '@crystal-forge/protocol'
import type { Answer } from './control-plane.ts'
import type { Log } from './log.ts'
import type { HintQueue } from './work-loop.ts'

/** Where queues and cache are, kept up to date: a control plane may move them while builders run. */
export type RenewedSession = {
  /** What the control plane said last. */
  current(): BuilderHelloAnswer
  /** Says hello once more when it is time for it; whoever asks meanwhile waits for the same answer. Never throws. */
  renewIfDue(): Promise<void>
  /** Something that the answer named does not work: time for a hello comes sooner. */
  doubt(): void
}

export function renewedSession(
  first: BuilderHelloAnswer,
  how: {
    readonly hello: () => Promise<Answer<BuilderHelloAnswer>>
    /** Milliseconds of a clock that nobody sets. */
    readonly now: () => number
    readonly log: Log
  },
): RenewedSession {
  let current = first
  let saidAt = how.now()
  let doubted = false
  let underWay: Promise<void> | undefined
  const renew = async (): Promise<void> => {
    const answer = await how.hello()
    switch (answer.kind) {
      case 'ok': {
        const moved = !isDeepStrictEqual(placesOf(current), placesOf(answer.body))
        if (moved) how.log.info(placesOf(answer.body), 'queues or cache are elsewhere now')
        current = answer.body
        return
      }
      case 'unanswered':
        return how.log.warn({ why: answer.why }, 'hello was not answered; what was said last stays')
      case 'refused':
        // Claims are refused as well then, and say so each time.
        return how.log.warn({ code: answer.code }, 'hello was refused; what was said last stays')
    }
  }
  return {
    current: () => current,
    doubt() {
      doubted = true
    },
    async renewIfDue() {
      if (underWay !== undefined) return await underWay
      const waited = how.now() - saidAt
      if (waited < (doubted ? AFTER_DOUBT_MS : RENEWAL_MS)) return
      saidAt = how.now()
      doubted = false
      underWay = renew().finally(() => {
        underWay = undefined
      })
      await underWay
    },
  }
}

/** The queue that the session names at the time of each look; one that does not answer puts the session in doubt. */
export function renewedQueue(
  session: RenewedSession,
  queueOf: (answer: BuilderHelloAnswer) => HintQueue,
): HintQueue {
  return {
    async receive(signal) {
      await session.renewIfDue()
      try {
        return await queueOf(session.current()).receive(signal)
      } catch (error) {
        session.doubt()
        throw error
      }
    },
  }
}

/** Makes something of what the session names, and the same again only when that has changed. */
export function madeOnce<Made>(
  session: RenewedSession,
  make: (answer: BuilderHelloAnswer) => Made,
): () => Made {
  let made: { readonly of: unknown; readonly value: Made } | undefined
  return () => {
    const places = placesOf(session.current())
    if (made === undefined || !isDeepStrictEqual(made.of, places))
      made = { of: places, value: make(session.current()) }
    return made.value
  }
}

function placesOf({ queues, cache, lease_s }: BuilderHelloAnswer): object {
  return { queues, cache, lease_s }
}

/** A quarter of an hour is what a moved queue costs at most where the old one still answers; a hello costs one row. */
const RENEWAL_MS = 15 * 60_000
/** Not with every look of every lane while a queue is away. */
const AFTER_DOUBT_MS = 60_000
