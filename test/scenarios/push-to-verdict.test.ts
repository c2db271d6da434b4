import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { type Demo, logTail, removeDirectory, startDemo } from '../demo/demo.ts'
import type { Reporter } from '../demo/stages.ts'
import { tellStory } from '../demo/story.ts'
import { audit } from './audit-demo.ts'

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
