import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, type JobResult, jobResult, type ResolvePayload } from '@crystal-forge/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { standIn } from '../test/control-plane-stand-in.ts'
import { memoryCache } from '../test/memory-cache.ts'
import { quietLog } from '../test/quiet-log.ts'
import { type TestMachine, testMachine } from '../test/test-machine.ts'
import type { JobContext } from './job-context.ts'
import { resolve } from './resolve.ts'
import { uploadPool } from './upload-pool.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-resolve-'))
const repository = join(root, 'fleet')
let machine: TestMachine
let signal = new AbortController().signal

beforeAll(async () => {
  git('init', '--quiet', '--initial-branch=main', repository)
  for (let number = 1; number <= 8; number++) commit(`change ${number}`, number)
  machine = await testMachine({ seed: generateKeyPair().seed, localFlakes: [root] })
})
afterAll(async () => {
  await machine.remove()
  rmSync(root, { recursive: true, force: true })
})

function git(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
}

/** Committed at a minute of its own; authored an hour before. */
function commit(subject: string, minute: number): string {
  const at = (hour: number): string => `2026-11-22T${hour}:${String(minute).padStart(2, '0')}:00+02:00`
  execFileSync('git', ['-C', repository, 'commit', '--quiet', '--allow-empty', '--message', subject], {
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      HOME: '/nonexistent',
      GIT_AUTHOR_NAME: 'A',
      GIT_AUTHOR_EMAIL: 'a@example.com',
      GIT_COMMITTER_NAME: 'C',
      GIT_COMMITTER_EMAIL: 'c@example.com',
      GIT_AUTHOR_DATE: at(11),
      GIT_COMMITTER_DATE: at(12),
    },
  })
  return head()
}

const head = (branch = 'HEAD'): string => git('-C', repository, 'rev-parse', branch)

async function resolved(changes: Partial<ResolvePayload> = {}): Promise<JobResult['result']> {
  const world = standIn()
  const work: ResolvePayload = {
    kind: 'resolve',
    flake: 'f_1',
    source: { kind: 'local', path: repository },
    branch: 'main',
    known: [],
    depth: 3,
    ...changes,
  }
  const context: Omit<JobContext, 'document'> = {
    machine: machine.machine,
    controlPlane: world.plane,
    bucket: memoryCache(),
    uploads: uploadPool(1),
    lease: { signal, report: () => {}, release: async () => {} },
    log: quietLog(),
  }
  const claimed = world.claim(world.add(work))
  const document = JSON.parse(Buffer.from(claimed.document.payload, 'base64').toString())
  const result = await resolve({ ...context, document }, work)
  expect(jobResult.safeParse({ v: 1, fence: 1, result }).error).toBeUndefined()
  return result
}

test('the first time brings the last few commits, oldest first, with the times they carry', async () => {
  expect(await resolved()).toEqual({
    outcome: 'succeeded',
    succeeded: {
      kind: 'resolve',
      head: head(),
      continues: true,
      commits: [6, 7, 8].map((number) => ({
        rev: head(`HEAD~${8 - number}`),
        committed_at: `2026-11-22T10:0${number}:00.000Z`,
        subject: `change ${number}`,
      })),
    },
  })
})

test('later every new commit comes, whatever the depth, and a head that is known brings none', async () => {
  const known = [head('HEAD~5'), head('HEAD~6')]
  const result = await resolved({ known })
  expect(result).toMatchObject({ succeeded: { continues: true, base: known[0] } })
  expect(
    result.outcome === 'succeeded' &&
      result.succeeded.kind === 'resolve' &&
      result.succeeded.commits.map(({ subject }) => subject),
  ).toEqual(['change 4', 'change 5', 'change 6', 'change 7', 'change 8'])
  expect(await resolved({ known: [head()] })).toMatchObject({
    succeeded: { commits: [], head: head(), base: head(), continues: true },
  })
})

test('a rewritten branch starts anew and says so; a partly rewritten one continues from what is left', async () => {
  await resolved()
  const [old, kept] = [head(), head('HEAD~1')]
  git('-C', repository, 'reset', '--quiet', '--hard', 'HEAD~1')
  const anew = commit('another change', 20)
  expect(await resolved({ known: [old, kept] })).toMatchObject({
    succeeded: { head: anew, continues: true, base: kept, commits: [{ rev: anew }] },
  })
  const result = await resolved({ known: [old] })
  expect(result).toMatchObject({ succeeded: { head: anew, continues: false } })
  expect(result).not.toHaveProperty('succeeded.base')
})

test('a subject in many bytes is cut between characters', async () => {
  commit(`${'x'.repeat(199)}\u{1f600} and more`, 30)
  expect(await resolved({ depth: 1 })).toMatchObject({ outcome: 'succeeded' })
})

test.each<[string, Partial<ResolvePayload>, string, RegExp]>([
  ['an unknown branch', { branch: 'release' }, 'infra', /remote ref refs\/heads\/release/],
  [
    'a repository that is not there',
    { source: { kind: 'local', path: join(root, 'none') } },
    'infra',
    /not appear to be a git|does not exist|repository/,
  ],
  [
    'a forge that nobody answers at',
    { source: { kind: 'forge', via: 'https', host: '127.0.0.1:1', owner: 'acme', repo: 'fleet' } },
    'infra',
    /connect|unable to access/i,
  ],
])('%s is a failure that may pass', async (_, changes, kind, message) => {
  const forges = { ...machine.machine.policy, hosts: ['127.0.0.1:1'] }
  machine = {
    ...machine,
    machine: { ...machine.machine, policy: forges, git: { ...machine.machine.git, policy: forges } },
  }
  expect(await resolved(changes)).toMatchObject({
    outcome: 'failed',
    class: kind,
    message: expect.stringMatching(message),
  })
})

test('a repository that this builder may not read is refused before git runs', async () => {
  await expect(resolved({ source: { kind: 'local', path: '/etc' } })).rejects.toThrow(
    /not declared as a local flake/,
  )
})

test('a job that must stop stops git', async () => {
  signal = AbortSignal.abort('stopping')
  expect(await resolved()).toMatchObject({ outcome: 'failed', class: 'cancelled' })
})
