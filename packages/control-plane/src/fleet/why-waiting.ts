export type WaitingFacts = {
  readonly now: Date
  readonly job: {
    readonly kind: 'resolve' | 'evaluate' | 'build' | 'scan'
    readonly state: 'queued' | 'leased' | 'succeeded' | 'failed' | 'cancelled'
    readonly attempt: number
    readonly notBefore: Date
    readonly createdAt: Date
    readonly leaseUntil: Date | null
    /** Name of the builder that holds the lease. */
    readonly builder: string | null
    /** The platform it must be built on; null when any builder can do it. */
    readonly platform: string | null
    readonly failureMessage: string | null
  }
  /** Its message still stands in the outbox: no builder was told yet. */
  readonly unpublished: boolean
  /** Open jobs of its kind that are taken before it. */
  readonly ahead: number
  readonly builders: readonly {
    readonly name: string
    readonly active: boolean
    readonly lastSeenAt: Date | null
    readonly platforms: readonly string[]
    /** How many jobs it holds now. */
    readonly jobs: number
  }[]
}

export type WaitingCode =
  | 'finished'
  | 'running'
  | 'lease_expired'
  | 'backoff'
  | 'no_builder'
  | 'no_builder_for_platform'
  | 'builders_away'
  | 'unpublished'
  | 'builders_busy'
  | 'queued_behind'
  | 'ready'
export type WaitingReason = { readonly code: WaitingCode; readonly sentence: string }

/** Every reason why a job does not run yet, the weightiest first. Never empty: `ready` says that nothing holds it. */
export function whyWaiting(facts: WaitingFacts): WaitingReason[] {
  const { job, now } = facts
  if (job.state === 'leased') return [held(facts)]
  if (job.state !== 'queued') return [{ code: 'finished', sentence: `it ended: ${job.state}` }]
  const reasons: WaitingReason[] = []
  if (job.notBefore > now) {
    const because = job.failureMessage === null ? '' : ` after: ${job.failureMessage.split('\n')[0] ?? ''}`
    reasons.push({
      code: 'backoff',
      sentence: `attempt ${job.attempt} begins in ${seconds(now, job.notBefore)}${because}`,
    })
  }
  reasons.push(...builderReasons(facts))
  if (facts.unpublished)
    reasons.push({ code: 'unpublished', sentence: 'its message waits in the outbox for the relay' })
  if (facts.ahead > 0) {
    const jobs = facts.ahead === 1 ? '1 job of its kind is' : `${facts.ahead} jobs of its kind are`
    reasons.push({ code: 'queued_behind', sentence: `${jobs} taken before it` })
  }
  if (reasons.length === 0)
    reasons.push({ code: 'ready', sentence: 'nothing holds it: the next free builder takes it' })
  return reasons
}

function held(facts: WaitingFacts): WaitingReason {
  const { builder, leaseUntil, attempt } = facts.job
  const by = builder ?? 'a builder'
  if (leaseUntil !== null && leaseUntil < facts.now) {
    const since = seconds(leaseUntil, facts.now)
    return {
      code: 'lease_expired',
      sentence: `${by} has not been heard of and its lease ended ${since} ago: the next sweep queues it again`,
    }
  }
  const until = leaseUntil === null ? '' : ` with a lease until ${leaseUntil.toISOString()}`
  return { code: 'running', sentence: `${by} runs attempt ${attempt}${until}` }
}

function builderReasons(facts: WaitingFacts): WaitingReason[] {
  const { platform } = facts.job
  const registered = facts.builders.filter((builder) => builder.active)
  if (registered.length === 0)
    return [{ code: 'no_builder', sentence: 'no builder is registered: declare one in fleet.toml' }]
  const able = registered.filter((builder) => platform === null || builder.platforms.includes(platform))
  if (able.length === 0)
    return [
      {
        code: 'no_builder_for_platform',
        sentence: `no builder says that it can build for ${platform ?? ''}`,
      },
    ]
  const present = able.filter(
    ({ lastSeenAt }) => lastSeenAt !== null && facts.now.getTime() - lastSeenAt.getTime() < PRESENT_MS,
  )
  if (present.length === 0)
    return [
      {
        code: 'builders_away',
        sentence: `none of ${able.map(({ name }) => name).join(', ')} was seen in the last 2 minutes`,
      },
    ]
  if (present.every(({ jobs }) => jobs > 0))
    return [
      {
        code: 'builders_busy',
        sentence: `every builder that can take it is busy: ${present.map(({ name, jobs }) => `${name} (${jobs})`).join(', ')}`,
      },
    ]
  return []
}

function seconds(from: Date, to: Date): string {
  const whole = Math.max(1, Math.ceil((to.getTime() - from.getTime()) / 1000))
  return whole < 120 ? `${whole} s` : `${Math.round(whole / 60)} min`
}

/** Builders poll and heartbeat far more often than this. */
const PRESENT_MS = 120_000
