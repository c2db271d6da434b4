import { expect, test } from 'vitest'
import type { Row } from './api.ts'
import { changesSince, type Look, type Seen } from './work-changes.ts'

const job = (id: string, state: string, more: Row = {}): Row => ({
  id,
  kind: 'build',
  about: `thing-${id}`,
  state,
  attempt: 1,
  builder: state === 'leased' ? 'builder-1' : null,
  progress: null,
  failure_message: null,
  ...more,
})
const host = (hostname: string, verdict: string, more: Row = {}): Row => ({
  hostname,
  verdict,
  because: 'it says so',
  commits_behind: null,
  ...more,
})
const look = (more: Partial<Look>): Look => ({ open: [], recent: [], verdicts: {}, hosts: [], ...more })
const texts = (before: Seen | null, next: Look): string[] =>
  changesSince(before, next).changes.map(({ text }) => text)
const after = (first: Look): Seen => changesSince(null, first).seen

test('the first look names what is open, oldest first, and the fleet; what is over and who is how is no news', () => {
  const first = look({
    open: [job('2', 'queued'), job('1', 'leased')],
    recent: [job('2', 'queued'), job('1', 'leased'), job('0', 'succeeded')],
    hosts: [host('web-1', 'building')],
    verdicts: { up_to_date: 1, building: 2 },
  })
  expect(texts(null, first)).toEqual([
    'build thing-1  runs on builder-1',
    'build thing-2  waits',
    'hosts: 2 building, 1 up_to_date',
  ])
})

test('a look at which nothing is new says nothing', () => {
  const same = look({
    open: [job('1', 'leased', { progress: { phase: 'push', done: 1, total: 2, unit: 'paths' } })],
    hosts: [host('web-1', 'behind', { commits_behind: 3 })],
    verdicts: { behind: 1 },
  })
  expect(texts(after(same), same)).toEqual([])
})

test.each<[string, Row, Row, string]>([
  ['is taken', job('1', 'queued'), job('1', 'leased'), 'runs on builder-1'],
  ['waits again', job('1', 'leased'), job('1', 'queued', { attempt: 2 }), 'waits, attempt 2'],
  ['succeeds', job('1', 'leased'), job('1', 'succeeded'), 'succeeded'],
  ['is cancelled', job('1', 'queued'), job('1', 'cancelled'), 'cancelled'],
  [
    'fails, in the first line of its own words',
    job('1', 'leased'),
    job('1', 'failed', { failure_message: 'make: *** Error 2\nmore' }),
    'failed: make: *** Error 2 (cf job show 1)',
  ],
  [
    'is further',
    job('1', 'leased', { progress: { phase: 'push', done: 1, total: 4, unit: 'paths' } }),
    job('1', 'leased', { progress: { phase: 'push', done: 3, total: 4, unit: 'paths', note: '9 MB' } }),
    'runs on builder-1: push 3/4 paths, 9 MB',
  ],
  [
    'cannot steer the terminal',
    job('1', 'leased'),
    job('1', 'failed', { failure_message: 'a\u001b[2Jb' }),
    'failed: a·[2Jb (cf job show 1)',
  ],
])('a job that %s', (_what, before, now, expected) => {
  const open = (one: Row): Row[] => (['queued', 'leased'].includes(String(one['state'])) ? [one] : [])
  const next = look({ open: open(now), recent: [now] })
  expect(texts(after(look({ open: open(before) })), next)).toEqual([`build thing-1  ${expected}`])
})

test('only progress is told apart, for whoever waits longer while nothing else moves', () => {
  const at = (done: number): Look =>
    look({ open: [job('1', 'leased', { progress: { phase: 'push', done, total: 4, unit: 'paths' } })] })
  expect(changesSince(after(at(1)), at(2)).changes).toMatchObject([{ kind: 'job', progress: true }])
  expect(changesSince(after(look({ open: [job('1', 'queued')] })), at(2)).changes).toMatchObject([
    { kind: 'job', progress: false },
  ])
})

test('a job that began and ended between two looks is told', () => {
  expect(texts(after(look({})), look({ recent: [job('9', 'succeeded')] }))).toEqual([
    'build thing-9  succeeded',
  ])
})

test('a host is told when its verdict or its distance is another one, and the fleet when its counts are', () => {
  const before = after(
    look({
      hosts: [
        host('web-1', 'building'),
        host('web-2', 'behind', { commits_behind: 1 }),
        host('db-1', 'behind'),
      ],
      verdicts: { building: 1, behind: 2 },
    }),
  )
  const now = look({
    hosts: [
      host('web-1', 'up_to_date'),
      host('web-2', 'behind', { commits_behind: 2 }),
      host('db-1', 'behind'),
      host('new-1', 'never_seen'),
    ],
    verdicts: { up_to_date: 1, behind: 2, never_seen: 1 },
  })
  expect(texts(before, now)).toEqual([
    'web-1  building -> up_to_date: it says so',
    'web-2  behind by 1 -> behind by 2: it says so',
    'new-1  never_seen: it says so',
    'hosts: 2 behind, 1 never_seen, 1 up_to_date',
  ])
})

test('of a fleet that is too big to name its hosts the counts are told', () => {
  const before = after(look({ hosts: null, verdicts: { behind: 900 } }))
  expect(texts(before, look({ hosts: null, verdicts: { behind: 899, up_to_date: 1 } }))).toEqual([
    'hosts: 899 behind, 1 up_to_date',
  ])
})
