import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The files of a run, how its output ends, what it says before, and whether the run counts as good. */
const RUNS: readonly {
  what: string
  sources: readonly string[]
  last: string
  says: readonly string[]
  green: boolean
}[] = [
  {
    what: 'passed tests, and skips that say why in their name or in a note',
    sources: [
      "test('a', () => {})",
      "test.skip('b — skipped: no scanner here', () => {})\ntest('c', ({ skip }) => skip('no systemd'))",
      "describe.skip('d (skipped: no root)', () => { test('e (of two)', () => {}) })",
    ],
    last: '1 passed, 0 failed, 3 skipped',
    says: ['b — skipped: no scanner here: no scanner here', 'c: no systemd', 'e (of two): no root'],
    green: true,
  },
  {
    what: 'nothing but passed tests',
    sources: ["test('a', () => {})"],
    last: '1 passed, 0 failed',
    says: [],
    green: true,
  },
  {
    what: 'as failed what threw inside a test, in a hook, in loading a file, or beside every test',
    sources: [
      "test('a', () => {})\ntest('b', () => { throw new Error('no') })",
      "describe('c', () => { beforeAll(() => { throw new Error('no') }); test('d', () => {}) })",
      'syntax error (',
      "test('e', () => { void Promise.reject(new Error('stray')) })",
    ],
    // b, d, and three errors that belong to no test.
    last: '2 passed, 5 failed',
    says: ['3 error(s) outside of tests'],
    green: false,
  },
  {
    what: 'as failed a skip that nobody explains',
    sources: ["test('a', () => {})\ntest.skip('b', () => {})"],
    last: '1 passed, 1 failed',
    says: ['b: no reason given'],
    green: false,
  },
  {
    what: 'no test at all as a failure',
    sources: [],
    last: '0 passed, 0 failed',
    says: ['no test ran'],
    green: false,
  },
]

let directory: string

beforeAll(async () => {
  // Below the checkout, so that the files find Vitest.
  await mkdir(path.join(root, '.cache'), { recursive: true })
  directory = await mkdtemp(path.join(root, '.cache', 'closing-line-'))
})

afterAll(async () => {
  await rm(directory, { recursive: true, force: true })
})

describe('the closing line of npm test', () => {
  it.each(RUNS)('counts $what', async ({ what, sources, last, says, green }) => {
    const home = path.join(directory, what.replaceAll(/[ ,]+/g, '-'))
    await mkdir(home)
    for (const [index, source] of sources.entries()) {
      const head = "import { beforeAll, describe, test } from 'vitest'\n"
      await writeFile(path.join(home, `file-${index}.test.ts`), head + source)
    }
    const { code, lines } = await npmTest(home)
    expect(lines.at(-1)).toBe(last)
    for (const said of says) expect(lines.join('\n')).toContain(said)
    expect(code === 0).toBe(green)
  })
})

async function npmTest(home: string): Promise<{ code: number | null; lines: string[] }> {
  const argv = [path.join(root, 'scripts/test.ts'), '--root', home]
  const child = spawn(process.execPath, argv, { cwd: home, stdio: ['ignore', 'pipe', 'ignore'] })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const output = await text(child.stdout)
  await exited
  return { code: child.exitCode, lines: output.trimEnd().split('\n') }
}
