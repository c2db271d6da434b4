import { describe, expect, test } from 'vitest'
import { GroupCommit, type GroupCommitOptions, Overloaded } from './group-commit.ts'

type Item = { readonly tenant: string; readonly row: string; readonly poison?: boolean }

const item = (row: string, more: Partial<Item> = {}): Item => ({ tenant: 'one', row, ...more })

/** A database that can be held, so that what waits meanwhile is known. */
function setUp(more: Partial<GroupCommitOptions<Item, string>> = {}) {
  const groups: string[][] = []
  const gates: (() => void)[] = []
  const commit = new GroupCommit<Item, string>({
    commit: async (items) => {
      groups.push(items.map(({ row }) => row))
      await new Promise<void>((resolve) => gates.push(resolve))
      if (items.some(({ poison }) => poison)) throw new Error('poisoned')
      return items.map(({ row }) => `done ${row}`)
    },
    groupOf: ({ tenant }) => tenant,
    uniqueOf: ({ row }) => row,
    isUndone: () => true,
    itemsMax: 3,
    itemsEager: 3,
    inFlightMax: 1,
    waitingMax: 8,
    ...more,
  })
  const letAllThrough = async (): Promise<void> => {
    for (let idle = 0; idle < 5; idle++) {
      if (gates.length > 0) idle = 0
      for (const open of gates.splice(0)) open()
      await Promise.resolve()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { groups, commit, letAllThrough }
}

describe('a group', () => {
  test('leaves at the end of a turn with what the turn brought, and then takes all that waits', async () => {
    const { groups, commit, letAllThrough } = setUp()
    const first = ['a', 'b'].map((row) => commit.add(item(row)))
    expect(groups).toEqual([])
    await new Promise((resolve) => setImmediate(resolve))
    expect(groups).toEqual([['a', 'b']])
    const second = ['c', 'd'].map((row) => commit.add(item(row)))
    await letAllThrough()
    expect(groups).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ])
    expect(await Promise.all([...first, ...second])).toEqual(['done a', 'done b', 'done c', 'done d'])
  })

  test('of enough items leaves before the turn ends', () => {
    const { groups, commit } = setUp()
    for (const row of ['a', 'b', 'c', 'd']) void commit.add(item(row))
    expect(groups).toEqual([['a', 'b', 'c']])
  })

  test('holds no more than its limit, one tenant, and no row twice; what waits keeps its order', async () => {
    const { groups, commit, letAllThrough } = setUp()
    const rows: Item[] = [
      item('first'),
      item('a'),
      item('a'),
      item('x', { tenant: 'two' }),
      item('b'),
      item('c'),
      item('d'),
    ]
    const answers = rows.map((each) => commit.add(each))
    await letAllThrough()
    expect(groups).toEqual([['first', 'a'], ['a', 'b', 'c'], ['x'], ['d']])
    expect(await Promise.all(answers)).toHaveLength(7)
  })

  test('that fails and was undone is tried one by one, so that only the bad item fails', async () => {
    const { groups, commit, letAllThrough } = setUp()
    const rows = [item('first'), item('a'), item('bad', { poison: true }), item('c')]
    const answers = Promise.allSettled(rows.map((each) => commit.add(each)))
    await letAllThrough()
    expect((await answers).map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(groups).toEqual([['first', 'a', 'bad'], ['first'], ['a'], ['bad'], ['c']])
  })

  test('that may have been committed is not tried again', async () => {
    const { groups, commit, letAllThrough } = setUp({ isUndone: () => false })
    const rows = [item('a'), item('bad', { poison: true })]
    const answers = Promise.allSettled(rows.map((each) => commit.add(each)))
    await letAllThrough()
    expect((await answers).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(groups).toEqual([['a', 'bad']])
  })
})

test('more than may wait is turned away at once', async () => {
  const { commit, letAllThrough } = setUp({ waitingMax: 2 })
  const answers = Promise.allSettled(['a', 'b', 'c', 'd'].map((row) => commit.add(item(row))))
  await letAllThrough()
  expect((await answers).map((answer) => (answer.status === 'rejected' ? answer.reason : 'taken'))).toEqual([
    'taken',
    'taken',
    expect.any(Overloaded),
    expect.any(Overloaded),
  ])
})
