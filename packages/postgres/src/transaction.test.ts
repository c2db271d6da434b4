import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/postgres/test-database.ts'
import { conflictPauseMs, inTransaction } from './transaction.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase({ content: 'empty' })
  await database.admin.query('create table counter (id int primary key, n int not null)')
  await database.admin.query('insert into counter values (1, 0), (2, 0)')
})
afterAll(() => database.drop())

const settings =
  "select current_setting('cf.tenant', true) as tenant, current_setting('cf.lookup', true) as lookup"

test('the scope holds inside, whatever its letters, and ends with the transaction', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
      async (tenant) => {
        const inside = await inTransaction(database.admin, { tenant, lookup: 'k' }, (transaction) =>
          transaction.query(settings),
        )
        expect(inside.rows).toEqual([{ tenant, lookup: 'k' }])
      },
    ),
    { numRuns: 30 },
  )
  const { rows } = await database.admin.query(settings)
  expect(rows).toEqual([{ tenant: '', lookup: '' }])
})

test('what threw leaves nothing behind, and its error arrives', async () => {
  const failing = inTransaction(database.admin, {}, async (transaction) => {
    await transaction.query('update counter set n = 99')
    throw new Error('changed my mind')
  })
  await expect(failing).rejects.toThrow('changed my mind')
  expect((await database.admin.query('select max(n) as n from counter')).rows).toEqual([{ n: 0 }])
})

test('a swallowed database error does not pass for a commit', async () => {
  const swallowing = inTransaction(database.admin, {}, async (transaction) => {
    await transaction.query('update counter set n = 99')
    await transaction.query('select 1 / 0').catch(() => {})
  })
  await expect(swallowing).rejects.toThrow(/swallowed/)
})

test('increments that collide under serializable isolation all count', async () => {
  const increment = (): Promise<void> =>
    inTransaction(database.admin, { isolation: 'serializable' }, async (transaction) => {
      const { rows } = await transaction.query<{ n: number }>('select n from counter where id = 1')
      await transaction.query('update counter set n = $1 where id = 1', [(rows[0]?.n ?? 0) + 1])
    })
  await Promise.all([increment(), increment(), increment()])
  expect((await database.admin.query('select n from counter where id = 1')).rows).toEqual([{ n: 3 }])
})

test('of two that deadlock both succeed in the end', async () => {
  const meet = meetingPoint(2)
  const both = async (first: number, second: number): Promise<void> =>
    inTransaction(database.admin, {}, async (transaction) => {
      await transaction.query('update counter set n = n + 10 where id = $1', [first])
      await meet()
      await transaction.query('update counter set n = n + 10 where id = $1', [second])
    })
  const before = await database.admin.query<{ n: number }>('select sum(n)::int as n from counter')
  await Promise.all([both(1, 2), both(2, 1)])
  const after = await database.admin.query<{ n: number }>('select sum(n)::int as n from counter')
  expect((after.rows[0]?.n ?? 0) - (before.rows[0]?.n ?? 0)).toBe(40)
})

test('a conflict that never ends is passed on after a bounded number of rounds', async () => {
  let rounds = 0
  const hopeless = inTransaction(database.admin, {}, async (transaction) => {
    rounds++
    await transaction.query(
      "do $$ begin raise exception 'again' using errcode = 'serialization_failure'; end $$",
    )
  })
  await expect(hopeless).rejects.toThrow('again')
  expect(rounds).toBe(5)
})

test('a connection that dies inside is thrown away', async () => {
  const dying = inTransaction(database.admin, {}, async (transaction) => {
    await transaction.query('select pg_terminate_backend(pg_backend_pid())')
  })
  await expect(dying).rejects.toThrow()
  expect((await database.admin.query('select 1 as one')).rows).toEqual([{ one: 1 }])
})

test('pauses grow and stay below a quarter of a second', () => {
  expect([1, 2, 3, 4].map((attempt) => conflictPauseMs(attempt, 0))).toEqual([5, 10, 20, 40])
  expect(conflictPauseMs(4, 1)).toBe(80)
})

/** Lets the first `count` callers wait for each other; later ones pass. */
function meetingPoint(count: number): () => Promise<void> {
  let missing = count
  let open: () => void = () => {}
  const met = new Promise<void>((resolve) => {
    open = resolve
  })
  return () => {
    if (--missing <= 0) open()
    return met
  }
}
