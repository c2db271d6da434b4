import type { FailureClass, PushOutcome, UploadedPath } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkUpload, outsideReferences } from './check-upload.ts'
import { judgePush } from './judge-push.ts'
import { fitsKind, type HeldJob, judgeHolding, whyNotClaimed } from './judge-result.ts'
import { publishWaves } from './publish-waves.ts'
import { retryRule } from './retry-rule.ts'

describe('the retry rule', () => {
  const rows: [FailureClass, (number | 'verdict')[]][] = [
    ['infra', [5, 15, 60, 300, 'verdict', 'verdict']],
    ['timeout', [30, 'verdict']],
    ['build', ['verdict']],
    ['eval', ['verdict']],
    ['hash_mismatch', ['verdict']],
    ['cancelled', ['verdict']],
  ]
  test.each(rows)('%s', (failure, expected) => {
    const outcomes = expected.map((_, index) => {
      const after = retryRule(failure, index + 1)
      return after.kind === 'retry' ? after.pauseS : after.kind
    })
    expect(outcomes).toEqual(expected)
  })

  test('oom asks for two and four times the memory, then gives up', () => {
    expect([1, 2, 3].map((attempt) => retryRule('oom', attempt))).toEqual([
      { kind: 'retry', pauseS: 0, memoryFactor: 2 },
      { kind: 'retry', pauseS: 0, memoryFactor: 4 },
      { kind: 'verdict' },
    ])
  })
})

describe('who holds a job', () => {
  const job: HeldJob = {
    id: 'job_1',
    kind: 'build',
    subject: 'drv_1',
    state: 'leased',
    attempt: 2,
    fence: 7,
    builder: 'bld_1',
    named: { ended: false, answer: null },
  }
  const answer = { recorded: true, next: 'done' } as const
  const rows: [string, Partial<HeldJob>, { builder: string; fence: number }, object][] = [
    ['the newest fence in the right hands', {}, { builder: 'bld_1', fence: 7 }, { kind: 'held' }],
    [
      'the newest fence in other hands',
      { named: null },
      { builder: 'bld_2', fence: 7 },
      { kind: 'stale', late: false },
    ],
    [
      'an older fence',
      { named: { ended: true, answer: null } },
      { builder: 'bld_1', fence: 6 },
      { kind: 'stale', late: true },
    ],
    [
      'an older fence that was answered',
      { named: { ended: true, answer } },
      { builder: 'bld_1', fence: 6 },
      { kind: 'repeated', answer },
    ],
    [
      'a fence that was never given out',
      { named: null },
      { builder: 'bld_1', fence: 9 },
      { kind: 'stale', late: false },
    ],
    [
      'a job that waits again',
      { state: 'queued', builder: null },
      { builder: 'bld_1', fence: 7 },
      { kind: 'stale', late: true },
    ],
  ]
  test.each(rows)('%s', (_, changes, sender, expected) => {
    expect(judgeHolding({ ...job, ...changes }, sender)).toEqual(expected)
  })

  test('a failure fits every kind of work, a success only its own', () => {
    expect(fitsKind('scan', { outcome: 'failed', class: 'infra', message: '' })).toBe(true)
    const done = { kind: 'evaluate', configurations: 1, failed: 0 } as const
    expect(fitsKind('scan', { outcome: 'succeeded', succeeded: done })).toBe(false)
    expect(fitsKind('evaluate', { outcome: 'succeeded', succeeded: done })).toBe(true)
  })
})

test('why a job is not given has a word for every state', () => {
  const now = new Date('2026-11-22T19:00:00Z')
  const at = (seconds: number): Date => new Date(now.getTime() + seconds * 1000)
  const why = (
    state: 'queued' | 'leased' | 'succeeded' | 'failed' | 'cancelled',
    waitS = 0,
    attempt = 1,
  ): object => whyNotClaimed({ state, attempt: 1, notBefore: at(waitS) }, { attempt, now })
  expect(whyNotClaimed(null, { attempt: undefined, now })).toEqual({ because: 'unknown' })
  expect(why('leased')).toEqual({ because: 'taken' })
  for (const state of ['succeeded', 'failed', 'cancelled'] as const)
    expect(why(state)).toEqual({ because: 'finished' })
  expect(why('queued', 0, 2)).toEqual({ because: 'stale' })
  expect(why('queued', 42)).toEqual({ because: 'not-yet', retryInS: 42 })
  expect(why('queued', -10)).toEqual({ because: 'not-yet', retryInS: 5 })
})

describe('what a delivery means', () => {
  const push = (...branches: string[]): PushOutcome => ({
    kind: 'push',
    repositoryUrls: [],
    branches: branches.map((branch, n) => ({ branch, after: String(n).repeat(40), committedAt: null })),
  })
  test('the watched branch counts, wherever it stands among several', () => {
    expect(judgePush(push('dev', 'main'), 'main')).toEqual({ kind: 'wanted', rev: '1'.repeat(40) })
    expect(judgePush(push('Main', 'main2', 'x/main'), 'main').kind).toBe('ignored')
  })
  test('a long branch name is not repeated in full', () => {
    const judged = judgePush(push('x'.repeat(1000)), 'main')
    expect(judged.kind === 'ignored' && judged.because.length).toBeLessThan(200)
  })
})

describe('the order of publication', () => {
  const graph = fc.array(fc.array(fc.nat(), { maxLength: 4 }), { maxLength: 12 }).map((edges) =>
    edges.map((to, from) => ({
      path: `p${from}`,
      references: [...new Set(to.filter(() => from > 0).map((n) => `p${n % (from + 1)}`))],
    })),
  )

  test('every path comes once, after all that it refers to', () => {
    fc.assert(
      fc.property(graph, fc.func(fc.nat()), (items, order) => {
        const shuffled = [...items].sort((a, b) => order(a.path) - order(b.path))
        const ordered = publishWaves(shuffled)
        if (ordered.kind === 'circle') throw new Error('there is no circle')
        const done = new Set<string>()
        for (const wave of ordered.waves) {
          for (const { path, references } of wave)
            for (const reference of references) expect(reference === path || done.has(reference)).toBe(true)
          for (const { path } of wave) done.add(path)
        }
        expect(done.size).toBe(items.length)
        expect(ordered.waves.flat()).toHaveLength(items.length)
      }),
    )
  })

  test('a circle is named', () => {
    const items = [
      { path: 'a', references: ['b'] },
      { path: 'b', references: ['a'] },
      { path: 'c', references: [] },
    ]
    expect(publishWaves(items)).toEqual({ kind: 'circle', paths: ['a', 'b'] })
  })
})

describe('a batch of uploads', () => {
  const base = '/nix/store/00000000000000000000000000000000-'
  const uploaded = (name: string, references: string[] = []): UploadedPath => ({
    path: base + name,
    nar_hash: `sha256-${'A'.repeat(43)}=`,
    nar_size: 1,
    references: references.map((reference) => base + reference),
    deriver: null,
    ca: null,
    url: `nar/${'0'.repeat(52)}.nar.zst`,
    compression: 'zstd',
    file_hash: `sha256-${'A'.repeat(43)}=`,
    file_size: 1,
  })

  test('that agrees with itself has no fault, and names what it needs from outside', () => {
    const batch = [uploaded('a', ['a', 'b', 'x']), uploaded('b', ['x', 'y'])]
    expect(checkUpload(batch)).toBeNull()
    expect(outsideReferences(batch)).toEqual([`${base}x`, `${base}y`])
  })

  test('content addresses are those of Nix', () => {
    const good = [
      'text:sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa',
      'fixed:r:sha256:0sg9f58l1jj88w6pdrfdpj5x9b1zrwszk84j81zvby36q9whhhqa',
      `fixed:sha256:${'0'.repeat(64)}`,
      `fixed:git:sha1:${'0'.repeat(32)}`,
      `fixed:md5:${'0'.repeat(26)}`,
      `fixed:r:sha512:${'A'.repeat(86)}==`,
    ]
    for (const ca of good) expect(checkUpload([{ ...uploaded('a'), ca }])).toBeNull()
    const bad = [
      '',
      'fixed:',
      'fixed:r:sha256:1abc',
      'text:sha256:\u00e9',
      `text:sha1:${'0'.repeat(32)}`,
      `source:sha256:${'0'.repeat(52)}`,
      `fixed:r:r:sha256:${'0'.repeat(52)}`,
      `fixed:r:sha256:${'0'.repeat(52)}\nSig: x`,
      `fixed:r:sha256:${'e'.repeat(52)}`,
      `fixed:constructor:${'0'.repeat(52)}`,
    ]
    for (const ca of bad) expect(checkUpload([{ ...uploaded('a'), ca }])?.code).toBe('bad_ca')
  })
})
