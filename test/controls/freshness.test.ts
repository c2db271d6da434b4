import { assess } from '@crystal-forge/control-plane'
import { expect, it } from 'vitest'
import { readConfig } from '../../host-agent/src/config.ts'
import { FRESH_FOR_HOURS_MIN } from '../../host-agent/src/controls/questions.generated.ts'
import { freshForHoursMin } from '../../scripts/control-questions.ts'
import { demoHost, theCatalogue } from './demo-host.ts'

const HOUR_MS = 3_600_000
const collectedAt = new Date('2026-11-24T00:00:00Z')
const catalogue = theCatalogue()

/** Rules whose host evidence is too old, so many hours after it was collected; the host has sent nothing since. */
function staleAfter(hours: number): readonly string[] {
  const at = new Date(collectedAt.getTime() + hours * HOUR_MS)
  const host = demoHost(catalogue, collectedAt)
  const runtime = host.runtime.map((fact) => ({ ...fact, collectedAt }))
  const { hosts } = assess(catalogue, { at, hosts: [{ ...host, runtime }], waivers: [] })
  return (hosts[0]?.controls ?? [])
    .filter(({ observed }) => observed.kind === 'stale')
    .map(({ rule }) => rule)
}

function usualIntervalHours(): number {
  const env = {
    CRYSTAL_FORGE__CLIENT__SERVER_URL: 'https://cf.example.com',
    CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: '/k',
  }
  const read = readConfig(env, null)
  return read.ok ? (read.config.controlFactsIntervalMs ?? 0) / HOUR_MS : 0
}

it('what an agent sends as often as it does counts until the message after the next, for every rule', () => {
  const hours = usualIntervalHours()
  expect(hours).toBeGreaterThan(0)
  for (const after of [0, hours, 2 * hours - 1, 2 * hours])
    expect([after, staleAfter(after)]).toEqual([after, []])
})

it('a host that is silent for longer proves nothing any more but what hardly changes', () => {
  const hours = FRESH_FOR_HOURS_MIN + 1
  expect(staleAfter(hours).length).toBeGreaterThan(90)
  expect(staleAfter(8 * 24)).toHaveLength(103)
})

it('the agent knows how long its answers count; node scripts/control-questions.ts tells it anew', () => {
  expect(FRESH_FOR_HOURS_MIN).toBe(freshForHoursMin())
})
