import { setTimeout as sleep } from 'node:timers/promises'
import type { Pool } from '@crystal-forge/postgres'
import { expect } from 'vitest'
import { type FleetHost, signedPost, stateBody } from '../postgres/agent-fleet.ts'
import type { Instance } from './lambda.ts'

/** Hosts that report one thing after another, and again what was not acknowledged, as the agent does. */
export type ReportLoad = {
  /** Reports that were acknowledged so far. */
  readonly acknowledged: ReadonlySet<string>
  /** Attempts that failed: an error of the function, or no answer at all. */
  readonly failures: readonly string[]
  /** Resolves once every host had this many more reports acknowledged. */
  more(each: number): Promise<void>
  /** Resolves once every host had this many more attempts fail: what was on its way before has been answered by then. */
  failing(each: number): Promise<void>
  /** Lets go of what is on its way; what was not acknowledged by then never will be. */
  stop(): Promise<{ readonly unacknowledged: readonly string[] }>
}

/** Each host sends to an instance of its own, one report at a time. */
export function startReportLoad(pairs: readonly (readonly [FleetHost, Instance])[]): ReportLoad {
  const acknowledged = new Set<string>()
  const failures: string[] = []
  const unacknowledged: string[] = []
  const counts = pairs.map(() => 0)
  const failed = pairs.map(() => 0)
  let stopping = false
  const work = pairs.map(async ([host, instance], at) => {
    while (!stopping) {
      const body = stateBody(host.hostname)
      const id = String(body['report_id'])
      while (!acknowledged.has(id)) {
        const outcome = await attempt(instance, signedPost(host, '/v1/agent/reports', body))
        if (outcome === 'acknowledged') acknowledged.add(id)
        else if (stopping) return void unacknowledged.push(id)
        else {
          failures.push(outcome)
          failed[at] = (failed[at] ?? 0) + 1
          await sleep(100)
        }
      }
      counts[at] = (counts[at] ?? 0) + 1
      await sleep(20)
    }
  })
  return {
    acknowledged,
    failures,
    more: (each) => growBy(each, counts),
    failing: (each) => growBy(each, failed),
    stop: async () => {
      stopping = true
      await Promise.all(work)
      return { unacknowledged }
    },
  }
}

async function growBy(each: number, counts: readonly number[]): Promise<void> {
  const wanted = counts.map((count) => count + each)
  await expect
    .poll(() => counts.every((count, at) => count >= (wanted[at] ?? 0)), { timeout: 60_000 })
    .toBe(true)
}

/** The answers that end a report, 202 and 200; anything else is its text. A refusal is none of them and ends the test. */
async function attempt(instance: Instance, event: object): Promise<string> {
  const { statusCode, body } = (await instance.invoke(event)) as { statusCode: number; body: string }
  if (statusCode === 202 || statusCode === 200) return 'acknowledged'
  if (statusCode >= 500) return `${statusCode} ${body}`
  throw new Error(`${statusCode} ${body}`)
}

/** Everything acknowledged is there once, what was not is there once or not at all, and each has its event. */
export async function auditReports(
  database: Pick<Pool, 'query'>,
  load: Pick<ReportLoad, 'acknowledged'>,
  unacknowledged: readonly string[],
): Promise<void> {
  const { rows } = await database.query<{ report_id: string; count: number }>(
    'select report_id, count(*)::int as count from system_state group by report_id',
  )
  const stored = new Map(rows.map(({ report_id, count }) => [report_id, count]))
  expect(rows.filter(({ count }) => count !== 1)).toEqual([])
  expect([...load.acknowledged].filter((id) => !stored.has(id))).toEqual([])
  const known = new Set([...load.acknowledged, ...unacknowledged])
  expect([...stored.keys()].filter((id) => !known.has(id))).toEqual([])
  const { rows: events } = await database.query<{ count: number }>(
    `select count(*)::int as count from audit_event where type = 'agent.report'`,
  )
  expect(events).toEqual([{ count: stored.size }])
}
