import type { Row } from './api.ts'

/** Who did what an event says, in words: `operator ada`, `agent web-1`. */
export function actorOf(body: unknown): string | null {
  const event = members(body)
  const actor = members(event['actor'])
  const who =
    actor['name'] ??
    (actor['kind'] === 'agent' ? event['hostname'] : undefined) ??
    actor['builder'] ??
    actor['system']
  return [actor['kind'], who].filter((word) => typeof word === 'string').join(' ') || null
}

/** What an event says beyond its type: `change=job.retried job=job_...`. Names come before ids, what proves it is left out. */
export function detailOf(body: unknown): string | null {
  const details = Object.entries(members(body)).filter(
    ([name, value]) => !ENVELOPE.has(name) && value !== null && typeof value !== 'object',
  )
  const ids = details.filter(([, value]) => ID.test(String(value)))
  const names = details.filter((detail) => !ids.includes(detail))
  return [...names, ...ids].map(([name, value]) => `${name}=${value}`).join(' ') || null
}

function members(value: unknown): Row {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

/** Members that every event has, or that the other columns show. */
const ENVELOPE: ReadonlySet<string> = new Set(['v', 'at', 'id', 'type', 'tenant', 'actor'])
const ID = /^([a-z]{1,4}_[0-9a-f]{32}|ed25519:.*)$/
