import { expect, test } from 'vitest'
import { type DriftFacts, type Verdict, verdictOf, verdictSentence } from './verdict.ts'

const UP_TO_DATE: DriftFacts = {
  seen: true,
  tracked: true,
  pinned: false,
  evaluated: true,
  latestFailed: false,
  desiredKnown: true,
  onDesiredPath: true,
  buildState: 'cached',
  desiredPosition: 7,
  runningPosition: 7,
}
const OLD: Partial<DriftFacts> = { onDesiredPath: false, runningPosition: 5 }
const STRAY: Partial<DriftFacts> = { onDesiredPath: false, runningPosition: null }

test.each<[string, Partial<DriftFacts>, Verdict]>([
  ['it runs the desired path', {}, 'up_to_date'],
  ['it never reported, whatever else is known', { ...OLD, seen: false, latestFailed: true }, 'never_seen'],
  ['it follows no flake', { tracked: false, desiredKnown: false, ...STRAY }, 'untracked'],
  ['nothing was evaluated yet', { evaluated: false, desiredKnown: false, ...STRAY }, 'no_evaluation'],
  ['no commit ever evaluated', { latestFailed: true, desiredKnown: false, ...STRAY }, 'evaluation_failed'],
  ['the newest commit does not evaluate', { latestFailed: true }, 'evaluation_failed'],
  ['it runs a path of no commit', STRAY, 'unattributed'],
  ['it runs a path of no commit while a build runs', { ...STRAY, buildState: 'building' }, 'unattributed'],
  ['it runs a path of no commit and the newest fails', { ...STRAY, latestFailed: true }, 'unattributed'],
  ['it is behind and the build failed', { ...OLD, buildState: 'failed' }, 'build_failed'],
  ['it is behind and the build waits', { ...OLD, buildState: 'pending' }, 'building'],
  ['it is behind and the build runs', { ...OLD, buildState: 'building' }, 'building'],
  ['it is behind', OLD, 'behind'],
  ['it is behind and nobody knows of a build', { ...OLD, buildState: null }, 'behind'],
  ['it runs a newer commit', { onDesiredPath: false, runningPosition: 9, buildState: 'failed' }, 'ahead'],
  ['it runs another path of the desired commit', { onDesiredPath: false }, 'up_to_date'],
  ['it is pinned to what it runs, and follows no flake', { pinned: true, tracked: false }, 'up_to_date'],
  [
    'it is pinned to what it runs while the newest commit fails',
    { pinned: true, latestFailed: true },
    'up_to_date',
  ],
  ['it is pinned to an older commit', { pinned: true, onDesiredPath: false, desiredPosition: 3 }, 'ahead'],
  [
    'it is pinned to a path of no commit',
    { pinned: true, onDesiredPath: false, desiredPosition: null },
    'no_evaluation',
  ],
])('%s', (_, facts, verdict) => {
  expect(verdictOf({ ...UP_TO_DATE, ...facts })).toBe(verdict)
})

test('a sentence counts commits and names what a strange path belongs to', () => {
  const words = { flake: 'fleet', configuration: 'web-1', commitsBehind: 1, attributedTo: null }
  expect(verdictSentence('behind', words)).toBe('it is 1 commit behind')
  expect(verdictSentence('building', { ...words, commitsBehind: 3 })).toContain('3 commits behind')
  expect(verdictSentence('unattributed', words)).toBe('no known commit yields the path that it runs')
  expect(
    verdictSentence('unattributed', { ...words, attributedTo: { flake: 'fleet', configuration: 'db-1' } }),
  ).toBe('it runs fleet#db-1 instead of fleet#web-1')
})
