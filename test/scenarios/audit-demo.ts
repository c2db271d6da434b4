import { join } from 'node:path'
import { expect } from 'vitest'
import type { Demo } from '../demo/demo.ts'
import { substitute } from '../demo/substitute.ts'
import { driftByHost, type Job } from '../demo/verdicts.ts'
import { waitFor } from '../demo/wait-for.ts'

/** What must hold whatever happened: nothing left open, nothing done twice, everything that is cached can be fetched. */
export async function audit({ controlPlane, directory: at }: Demo): Promise<void> {
  const jobs = await waitFor('the end of every job', async () => {
    const all = await controlPlane.list<Job & { subject: string }>('/v1/jobs')
    return all.some(({ state }) => state === 'queued' || state === 'leased') ? undefined : all
  })
  const done = jobs.filter(
    ({ kind, state }) => (kind === 'evaluate' || kind === 'build') && state === 'succeeded',
  )
  expect(new Set(done.map(({ kind, subject }) => `${kind} ${subject}`)).size).toBe(done.length)
  const evaluations = await controlPlane.list<{ rev: string; configuration: string }>('/v1/evaluations')
  expect(new Set(evaluations.map((one) => `${one.rev} ${one.configuration}`)).size).toBe(evaluations.length)
  const derivations = await controlPlane.list<{ state: string; out_path: string }>('/v1/derivations')
  const cached = derivations.filter(({ state }) => state === 'cached')
  expect(cached.length).toBeGreaterThanOrEqual(5)
  const { cacheUrl, cachePublicKey: publicKey } = controlPlane.facts
  for (const { out_path: path } of cached) {
    const copied = await substitute({ directory: join(at, 'audit'), cacheUrl, publicKey, path })
    expect(copied.paths).toBeGreaterThan(30)
  }
  const hosts = await driftByHost(controlPlane)
  expect(hosts.get('web-1')).toMatchObject({ verdict: 'behind', commits_behind: 1 })
  expect(hosts.get('web-2')).toMatchObject({ verdict: 'unattributed' })
  expect(hosts.get('broken-eval')?.evaluation_error).toContain('services.ngnix.enable')
  expect(hosts.get('broken-build')?.build_error).toContain('ngx_frobnicate')
}
