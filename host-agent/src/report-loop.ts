import { type AgentReport, backoffMs, type ReportAnswer, stateDigest } from '@crystal-forge/protocol'
import type { AcceptedState } from './accepted-state.ts'
import type { SystemPaths } from './collectors/system-paths.ts'
import {
  decideContent,
  decideStep,
  decideVerdict,
  needsAttention,
  nextReportMs,
  type Occasion,
  type Reply,
  type Verdict,
} from './decide.ts'
import { doorbell } from './doorbell.ts'
import { type FactsPorts, FactsRound } from './facts-round.ts'
import { type Log, reason } from './json-log.ts'
import type { Observation, Observed } from './observe.ts'
import { heartbeatReport, stateReport } from './report.ts'
import type { SendReport } from './send-report.ts'
import type { Dropped, Spool, Spooled } from './spool.ts'

export type ReportLoopPorts = {
  readonly observe: () => Promise<Observed>
  readonly spool: Spool
  readonly accepted: AcceptedState
  readonly send: SendReport
  readonly log: Log
  readonly now: () => Date
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs: () => number
  /** In [0, 1). */
  readonly random: () => number
  readonly newReportId: () => string
  /** Until the control plane names another interval. */
  readonly heartbeatIntervalMs: number
  /** The facts that controls are judged by; null where they are not wanted. */
  readonly facts: FactsPorts | null
}
export type ReportLoop = {
  /** Reports until the signal is aborted; then finishes what it has in hand and resolves. */
  run(signal: AbortSignal): Promise<void>
  /** The links of the system led here, one after the other; looks again soon. */
  changed(seen: readonly SystemPaths[]): void
}

/** Observes, spools and sends, at the agent's own pace. The rules are in decide.ts. */
export function reportLoop(ports: ReportLoopPorts): ReportLoop {
  const loop = new Loop(ports)
  return { run: (signal) => loop.run(signal), changed: (seen) => loop.changed(seen) }
}

/** A report that could not be written is held in memory, so that a full disk does not silence the host. */
type Outgoing = { readonly report: AgentReport; readonly body: Uint8Array; readonly entry: Spooled | null }

class Loop {
  readonly #ports: ReportLoopPorts
  readonly #bell = doorbell()
  readonly #facts: FactsRound | null
  #started = false
  #changes: SystemPaths[] = []
  #stateWanted = false
  #reportDueAt = 0
  #lookNotBefore = 0
  #sendNotBefore = 0
  /** Failed attempts in a row. */
  #failures = 0
  /** The report that was sent last, and how often in a row. */
  #attempts = { reportId: '', count: 0 }
  #reportedPaths: SystemPaths | null = null
  #hostname: string | null = null
  #held: Outgoing | null = null
  /** The code of the refusal that was told last. */
  #refusedWith: string | null = null
  #orderTold: string | null = null

  constructor(ports: ReportLoopPorts) {
    this.#ports = ports
    const ring = () => this.#bell.ring()
    this.#facts = ports.facts === null ? null : new FactsRound(ports.facts, { ...ports, ring })
  }

  changed(seen: readonly SystemPaths[]): void {
    this.#changes.push(...seen)
    this.#bell.ring()
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const outgoing = await this.#outgoing()
      const step = decideStep({
        now: this.#ports.monotonicMs(),
        started: this.#started,
        changed: this.#changes.length > 0,
        stateWanted: this.#stateWanted,
        reportDueAt: this.#reportDueAt,
        lookNotBefore: this.#lookNotBefore,
        reportsWaiting: outgoing !== null,
        sendNotBefore: this.#sendNotBefore,
        ...((await this.#facts?.situation()) ?? NO_FACTS),
      })
      switch (step.kind) {
        case 'report':
          await this.#report(step.occasion)
          break
        case 'send':
          if (outgoing !== null) await this.#sendOne(outgoing, signal)
          break
        case 'collect':
          this.#facts?.collect(signal)
          break
        case 'send-facts':
          await this.#facts?.sendOldest(signal)
          break
        case 'wait':
          await this.#bell.wait(step.ms, signal)
          break
      }
    }
  }

  async #report(occasion: Occasion): Promise<void> {
    const changes = this.#changes.splice(0)
    const seen = await this.#observe()
    const now = this.#ports.monotonicMs()
    if (!seen.ok) {
      this.#ports.log('error', 'cannot observe this host; trying again in a minute', {
        because: seen.because,
      })
      this.#lookNotBefore = now + LOOK_AGAIN_MS
      return
    }
    const { observation } = seen
    this.#hostname = observation.hostname
    for (const passed of changes.slice(0, -1)) await this.#reportPassed(passed, observation)
    await this.#reportNow(occasion, observation)
    this.#started = true
    this.#stateWanted = false
    // The answer usually says better; this holds while there is none.
    this.#reportDueAt = now + nextReportMs(this.#ports.heartbeatIntervalMs / 1000, this.#ports.random())
  }

  async #observe(): Promise<Observed> {
    try {
      return await this.#ports.observe()
    } catch (error) {
      return { ok: false, because: reason(error) }
    }
  }

  /** A system that ran for a moment: its links were read then, everything else a moment later. */
  async #reportPassed(passed: SystemPaths, observation: Observation): Promise<void> {
    if (passed.current === null) return
    const then = { ...observation, paths: { ...passed, current: passed.current } }
    const report = stateReport(then, 'config_change', this.#stamp())
    const known = { digest: await this.#knownDigest(), paths: this.#reportedPaths }
    const content = decideContent('change', { digest: stateDigest(report), paths: passed }, known)
    if (content.kind === 'state') await this.#keep(report, passed)
  }

  async #reportNow(occasion: Occasion, observation: Observation): Promise<void> {
    const state = stateReport(observation, 'state_delta', this.#stamp())
    const digest = stateDigest(state)
    const known = { digest: await this.#knownDigest(), paths: this.#reportedPaths }
    const content = decideContent(occasion, { digest, paths: observation.paths }, known)
    switch (content.kind) {
      case 'state':
        return await this.#keep({ ...state, change_reason: content.reason }, observation.paths)
      case 'heartbeat':
        return await this.#keep(heartbeatReport(observation, digest, this.#stamp()), observation.paths)
      case 'nothing':
        return
    }
  }

  #stamp(): { reportId: string; at: Date } {
    return { reportId: this.#ports.newReportId(), at: this.#ports.now() }
  }

  async #keep(report: AgentReport, paths: SystemPaths): Promise<void> {
    const { log, spool } = this.#ports
    if (this.#reportedPaths !== null && this.#reportedPaths.current !== paths.current)
      this.#facts?.systemChanged()
    this.#reportedPaths = paths
    const held = this.#held?.report
    try {
      for (const one of held === undefined ? [report] : [held, report]) {
        const dropped = await spool.append(one)
        if (one === held) this.#held = null
        if (dropped.states + dropped.heartbeats + dropped.facts > 0) this.#tellDropped(dropped)
      }
    } catch (error) {
      log('error', 'cannot spool a report; the newest is held in memory until it is sent', {
        because: reason(error),
      })
      const body = new TextEncoder().encode(JSON.stringify(report))
      this.#held = { report, body, entry: null }
    }
  }

  #tellDropped(dropped: Dropped): void {
    this.#ports.log('warn', 'the spool is full or reports are too old; the oldest were dropped', dropped)
  }

  /** The digest that a heartbeat may name: of the newest state that will arrive before it, or that has arrived. */
  async #knownDigest(): Promise<string | null> {
    const held = this.#held?.report
    if (held?.kind === 'state') return stateDigest(held)
    const waiting = await this.#ports.spool.newestState().catch(() => null)
    return waiting?.kind === 'state' ? stateDigest(waiting) : this.#ports.accepted.digest()
  }

  async #outgoing(): Promise<Outgoing | null> {
    try {
      return (await this.#ports.spool.head()) ?? this.#held
    } catch (error) {
      if (this.#held === null) this.#ports.log('error', 'cannot read the spool', { because: reason(error) })
      return this.#held
    }
  }

  async #sendOne(outgoing: Outgoing, signal: AbortSignal): Promise<void> {
    const { report } = outgoing
    const again = this.#attempts.reportId === report.report_id
    this.#attempts = { reportId: report.report_id, count: again ? this.#attempts.count + 1 : 1 }
    const reply = await this.#ports.send(outgoing.body, signal)
    if (signal.aborted && reply.kind === 'unreachable') return
    this.#tellRefusal(reply)
    const attempt = { attempt: this.#attempts.count, currentHostname: this.#hostname }
    await this.#carryOut(decideVerdict(reply, report, attempt), outgoing)
  }

  async #carryOut(verdict: Verdict, outgoing: Outgoing): Promise<void> {
    const { log, spool } = this.#ports
    const { report_id, kind } = outgoing.report
    switch (verdict.kind) {
      case 'accepted':
        await this.#accept(verdict.answer, outgoing)
        return
      case 'state-wanted':
        log('info', 'the control plane wants a full state')
        this.#stateWanted = true
        await this.#take(outgoing, (entry) => spool.remove(entry))
        return
      case 'set-aside':
        log('error', 'a report was refused for good and is set aside', {
          report_id,
          kind,
          because: verdict.because,
        })
        await this.#take(outgoing, (entry) => spool.quarantine(entry))
        return
      case 'sign-again':
        log('info', 'a report is signed and sent again', { report_id })
        return
      case 'retry':
        this.#postpone(verdict)
        return
    }
  }

  async #accept(answer: ReportAnswer, outgoing: Outgoing): Promise<void> {
    const { accepted, log, spool } = this.#ports
    const { report } = outgoing
    if (this.#failures > 0) log('info', 'reports are accepted again', { after_failures: this.#failures })
    this.#failures = 0
    this.#reportDueAt =
      this.#ports.monotonicMs() + nextReportMs(answer.next_report_in_s, this.#ports.random())
    if (report.kind === 'state') {
      const state = { digest: stateDigest(report), reportId: report.report_id, at: this.#ports.now() }
      await accepted.accept(state).catch((error: unknown) => {
        log('warn', 'cannot write down which state was accepted', { because: reason(error) })
      })
    }
    await this.#take(outgoing, (entry) => spool.remove(entry))
    this.#tellOrder(answer)
    log('info', 'a report was accepted', { kind: report.kind, report_id: report.report_id })
  }

  /** Takes a report out. When that fails it is sent again, and the control plane knows it by its id. */
  async #take(outgoing: Outgoing, act: (entry: Spooled) => Promise<void>): Promise<void> {
    this.#attempts = { reportId: '', count: 0 }
    if (outgoing.entry === null) {
      this.#held = null
      return
    }
    try {
      await act(outgoing.entry)
    } catch (error) {
      this.#ports.log('error', 'cannot take a report out of the spool', { because: reason(error) })
      this.#postpone({ pace: 'slow', because: 'the spool cannot be changed', floorMs: null })
    }
  }

  #postpone(verdict: Pick<Extract<Verdict, { kind: 'retry' }>, 'pace' | 'because' | 'floorMs'>): void {
    this.#failures++
    const { baseMs, maxMs, floorMs } = PACES[verdict.pace]
    const ms = backoffMs({
      attempt: this.#failures,
      baseMs,
      maxMs,
      random: this.#ports.random(),
      retryAfterMs: Math.max(floorMs, verdict.floorMs ?? 0),
    })
    this.#sendNotBefore = this.#ports.monotonicMs() + ms
    this.#ports.log('warn', 'a report could not be delivered; it stays in the spool', {
      because: verdict.because,
      failures: this.#failures,
      next_attempt_in_s: Math.ceil(ms / 1000),
    })
  }

  /** Loud once: a host that is not taken needs a person, and a log that repeats itself is not read. */
  #tellRefusal(reply: Reply): void {
    if (reply.kind === 'refusal' && reply.serverTime !== null) {
      const own = this.#ports.now().toISOString()
      this.#ports.log(
        'warn',
        'the clocks disagree; set the clock of this host, the agent does not correct it',
        {
          own_time: own,
          server_time: reply.serverTime,
        },
      )
    }
    if (reply.kind === 'answer') this.#refusedWith = null
    if (reply.kind !== 'refusal' || !needsAttention(reply)) return
    if (this.#refusedWith === reply.code) return
    this.#refusedWith = reply.code
    this.#ports.log(
      'error',
      'THE CONTROL PLANE DOES NOT TAKE THIS HOST: is its key registered, active and its own?',
      { status: reply.status, code: reply.code, detail: reply.detail },
    )
  }

  /** Once for each order: an operator who waits must be able to find out why nothing happens. */
  #tellOrder(answer: ReportAnswer): void {
    const order = answer.deployment?.payload ?? null
    if (order !== null && order !== this.#orderTold) {
      this.#ports.log(
        'warn',
        'an order to deploy was received and is NOT acted upon: this version of the agent only reports',
      )
    }
    this.#orderTold = order
  }
}

const LOOK_AGAIN_MS = 60_000
const NO_FACTS = { collectAt: Number.POSITIVE_INFINITY, factsWaiting: false, factsNotBefore: 0 }
const PACES = {
  usual: { baseMs: 2_000, maxMs: 300_000, floorMs: 0 },
  slow: { baseMs: 60_000, maxMs: 900_000, floorMs: 15_000 },
} as const
