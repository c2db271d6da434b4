import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { type Demo, logTail, removeDirectory, startDemo } from '../demo/demo.ts'
import type { Reporter, Stage } from '../demo/stages.ts'
import { tellStory } from '../demo/story.ts'
import { substitute } from '../demo/substitute.ts'
import { driftByHost, type Job } from '../demo/verdicts.ts'
import { waitFor } from '../demo/wait-for.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
let demo: Demo | undefined
let directory = ''

afterEach(async (context) => {
  await demo?.stop()
  if (context.task.result?.state === 'fail')
    for (const name of ['server', 'builder-agent', 'host-agent-web-1'])
      process.stderr.write(`--- ${name}\n${await logTail({ directory }, name)}\n`)
  demo = undefined
  await removeDirectory(directory)
}, 60_000)

async function begin(reporter: Reporter): Promise<Demo> {
  directory = await mkdtemp(join(tmpdir(), 'crystal-forge-test-'))
  // Another version of a package that every host has makes every derivation a new one, so that builds are real.
  const salt = `3.0.13-${directory.slice(-6).toLowerCase()}`
  demo = await startDemo({ directory, reporter, node: process.execPath, root, salt })
  return demo
}

describe('from a git push to a verdict', () => {
  it('ends in the verdicts of the demo, with real Postgres, real Nix and the emulator', async () => {
    const said: string[] = []
    const reporter = { say: (text: string) => void said.push(text), reached: async () => {} }
    const running = await begin(reporter)
    await tellStory(running, reporter)
    await audit(running)
    expect(running.server.restarts() + running.builder.restarts()).toBe(0)
    const printed = withoutRevisions(said.join('\n'))
    expect(printed).toContain('nginx  1.26.1 -> 1.26.2')
    for (const line of await readmeSample()) expect(printed).toContain(withoutRevisions(line))
  }, 240_000)

  it('ends in the same verdicts when the server and the builder are killed on the way', async () => {
    const kills: Partial<Record<Stage, () => void>> = {
      evaluating: () => demo?.server.kill(),
      building: () => demo?.builder.kill(),
      'second push': () => {
        demo?.builder.kill()
        demo?.server.kill()
      },
      'one behind': () => demo?.agents.get('web-2')?.kill(),
    }
    const reached: Stage[] = []
    const reporter = {
      say: () => {},
      // Each kill happens once: the second push evaluates and builds again.
      reached: async (stage: Stage) => {
        if (!reached.includes(stage)) kills[stage]?.()
        reached.push(stage)
      },
    }
    const running = await begin(reporter)
    await tellStory(running, reporter)
    await audit(running)
    expect(running.server.restarts()).toBe(2)
    expect(running.builder.restarts()).toBe(2)
    expect(running.agents.get('web-2')?.restarts()).toBe(1)
  }, 400_000)
})

/** The lines that the README says the demo prints. */
async function readmeSample(): Promise<string[]> {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const sample = /<!-- printed-by: npm run demo -->\n```\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const lines = sample.split('\n').filter((line) => line.trim() !== '')
  expect(lines.length).toBeGreaterThan(5)
  return lines
}

/** Revisions differ from run to run, because the tests build what no store has yet. */
function withoutRevisions(text: string): string {
  return text.replace(/[0-9a-f]{12}/g, '<revision>')
}

/** What must hold whatever happened: nothing left open, nothing done twice, everything that is cached can be fetched. */
async function audit({ controlPlane, directory: at }: Demo): Promise<void> {
  const jobs = await waitFor('the end of every job', async () => {
    const all = await controlPlane.list<Job & { subject: string }>('/v1/jobs')
    return all.some(({ state }) => state === 'queued' || state === 'leased') ? undefined : all
  })
  const done = jobs.filter(
    ({ kind, state }) => (kind === 'evaluate' || kind === 'build') && state === 'succeeded',
  )
  expect(new Set(done.map(({ kind, subject }) => `${kind} ${subject}`)).size).toBe(done.length)
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
