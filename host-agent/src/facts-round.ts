import { backoffMs } from '@crystal-forge/protocol'
import type { ControlFactsSource } from './control-facts.ts'
import type { CollectedFacts } from './controls/collect-facts.ts'
import { decideFactsVerdict } from './decide.ts'
import { type Log, reason } from './json-log.ts'
import type { SendFacts } from './send-report.ts'
import type { FactsHead, Spool } from './spool.ts'

export type FactsPorts = {
  readonly source: ControlFactsSource
  readonly send: SendFacts
  /** Between two looks, besides those at start and after a switch. */
  readonly intervalMs: number
}
type Surroundings = {
  readonly spool: Spool
  readonly log: Log
  readonly monotonicMs: () => number
  readonly random: () => number
  /** Something is to be done that was not known before. */
  readonly ring: () => void
}

/** Collects, spools and sends the facts that controls are judged by. One step at a time, as the loop asks; looking goes on beside it. */
export class FactsRound {
  readonly #ports: FactsPorts
  readonly #around: Surroundings
  #collectAt: number
  #collecting = false
  #changedMeanwhile = false
  #collected: CollectedFacts | null = null
  /** Whether facts lie in the spool; null when it must be looked at. */
  #waiting: boolean | null = null
  #notBefore = 0
  #failures = 0
  #attempts = 0

  constructor(ports: FactsPorts, around: Surroundings) {
    this.#ports = ports
    this.#around = around
    this.#collectAt = around.monotonicMs() + SETTLE_MS
  }

  /** For `decideStep`; takes what was collected into the spool first. */
  async situation(): Promise<{ collectAt: number; factsWaiting: boolean; factsNotBefore: number }> {
    if (this.#collected !== null) await this.#keep(this.#collected)
    this.#waiting ??= (await this.#head()) !== null
    return { collectAt: this.#collectAt, factsWaiting: this.#waiting, factsNotBefore: this.#notBefore }
  }

  /** Services start and stop after a switch; what is seen in the middle of it is true of nothing. */
  systemChanged(): void {
    if (this.#collecting) this.#changedMeanwhile = true
    else this.#collectAt = this.#around.monotonicMs() + SETTLE_MS
  }

  collect(signal: AbortSignal): void {
    const { log, monotonicMs, ring } = this.#around
    this.#collecting = true
    this.#changedMeanwhile = false
    this.#collectAt = Number.POSITIVE_INFINITY
    const over = (waitMs: number) => {
      this.#collecting = false
      this.#collectAt = monotonicMs() + (this.#changedMeanwhile ? SETTLE_MS : waitMs)
      ring()
    }
    this.#ports.source.collect(signal).then(
      (facts) => {
        this.#collected = facts
        over(this.#ports.intervalMs)
      },
      (error: unknown) => {
        if (!signal.aborted) log('warn', 'cannot collect the facts of controls', { because: reason(error) })
        over(LOOK_AGAIN_MS)
      },
    )
  }

  async sendOldest(signal: AbortSignal): Promise<void> {
    const { log, spool } = this.#around
    const head = await this.#head()
    this.#waiting = null
    if (head === null) return
    this.#attempts++
    const reply = await this.#ports.send(head.body, signal)
    if (signal.aborted && reply.kind === 'unreachable') return
    const verdict = decideFactsVerdict(reply, this.#attempts)
    switch (verdict.kind) {
      case 'accepted':
        await this.#done(() => spool.remove(head.entry))
        log('info', 'facts of controls were accepted')
        return
      case 'unwanted':
        this.#collectAt = Number.POSITIVE_INFINITY
        await this.#done(() => spool.remove(head.entry))
        log(
          'warn',
          'the control plane does not take facts of controls; they are not collected before a switch or a restart',
        )
        return
      case 'set-aside':
        log('error', 'facts of controls were refused for good and are set aside', {
          because: verdict.because,
        })
        return await this.#done(() => spool.quarantine(head.entry))
      case 'sign-again':
        return
      case 'retry':
        return this.#postpone(verdict.because, verdict.floorMs)
    }
  }

  async #keep(facts: CollectedFacts): Promise<void> {
    const { log, spool } = this.#around
    this.#collected = null
    try {
      const dropped = await spool.appendFacts(await this.#ports.source.seal(facts))
      if (dropped.facts + dropped.heartbeats + dropped.states > 0)
        log('warn', 'the spool is full or messages are too old; the oldest were dropped', dropped)
      this.#waiting = true
    } catch (error) {
      log('error', 'cannot spool the facts of controls', { because: reason(error) })
      this.#waiting = null
    }
  }

  async #head(): Promise<FactsHead | null> {
    return await this.#around.spool.factsHead().catch(() => null)
  }

  async #done(take: () => Promise<void>): Promise<void> {
    this.#failures = 0
    this.#attempts = 0
    try {
      await take()
    } catch (error) {
      this.#postpone(`the spool cannot be changed: ${reason(error)}`, null)
    }
  }

  #postpone(because: string, floorMs: number | null): void {
    this.#failures++
    const ms = backoffMs({
      attempt: this.#failures,
      baseMs: 60_000,
      maxMs: 3_600_000,
      random: this.#around.random(),
      retryAfterMs: Math.max(15_000, floorMs ?? 0),
    })
    this.#notBefore = this.#around.monotonicMs() + ms
    this.#around.log('warn', 'facts of controls could not be delivered; they stay in the spool', {
      because,
      next_attempt_in_s: Math.ceil(ms / 1000),
    })
  }
}

const SETTLE_MS = 60_000
const LOOK_AGAIN_MS = 600_000
