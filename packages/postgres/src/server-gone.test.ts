import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startTcpRelay, type TcpRelay } from '../../../test/postgres/tcp-relay.ts'
import { createTestDatabase, type TestDatabase } from '../../../test/postgres/test-database.ts'
import { connect, type Pool } from './connect.ts'
import { readDatabaseUrl } from './database-url.ts'
import { isServerGone, ReadOnlyServer } from './server-gone.ts'
import { inTransaction } from './transaction.ts'

describe('a pool behind an address that leads elsewhere', () => {
  let database: TestDatabase
  let relay: TcpRelay
  let pool: Pool
  beforeEach(async () => {
    database = await createTestDatabase({ content: 'empty' })
    await database.admin.query('create table entry (id int primary key)')
    relay = await startTcpRelay(Number(new URL(database.url).port))
    const target = { ...readDatabaseUrl(database.url), host: '127.0.0.1', port: relay.port }
    pool = connect({ ...target, max: 1, applicationName: 'relayed', answerTimeoutMs: 1000 })
  })
  afterEach(async () => {
    await pool.end()
    await relay.close()
    await database.drop()
  })

  const insert = (id: number): Promise<unknown> =>
    inTransaction(pool, {}, (transaction) => transaction.query('insert into entry values ($1)', [id]))

  async function backend(): Promise<number | undefined> {
    const { rows } = await database.admin.query<{ pid: number }>(
      `select pid from pg_stat_activity where application_name = 'relayed' and datname = current_database()`,
    )
    return rows[0]?.pid
  }

  const entries = async (): Promise<unknown[]> =>
    (await database.admin.query('select id from entry order by id')).rows.map(({ id }) => id)

  /** For new sessions. */
  async function readOnly(on: boolean): Promise<void> {
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    await client.query('set default_transaction_read_only = off')
    const name = new URL(database.url).pathname.slice(1)
    await client.query(`alter database ${name} set default_transaction_read_only = ${on}`)
    await client.end()
  }

  test('a connection that died while idle is replaced before a transaction begins', async () => {
    await insert(1)
    relay.cutAtNextWord()
    await insert(2)
    expect(await entries()).toEqual([1, 2])
  })

  test('a connection that dies inside a transaction is replaced, and the transaction is not tried again', async () => {
    let times = 0
    const dying = inTransaction(pool, {}, async (transaction) => {
      times++
      await transaction.query('insert into entry values (1)')
      relay.cutAtNextWord()
      await transaction.query('insert into entry values (2)')
    })
    await expect(dying).rejects.toThrow(/terminated/)
    expect(times).toBe(1)
    expect(await entries()).toEqual([])
    await insert(3)
  })

  test('a closed port is an error at once, and no longer than it is closed', async () => {
    await insert(1)
    await relay.become('refuse')
    await expect(insert(2)).rejects.toThrow(/ECONNREFUSED/)
    await expect(pool.query('select 1')).rejects.toThrow(/ECONNREFUSED/)
    await relay.become('pass')
    await insert(3)
    expect(await entries()).toEqual([1, 3])
  })

  test('a server that vanished without a word is given up, with its connection, and found again', async () => {
    await insert(1)
    await relay.become('silence')
    await expect(pool.query('select 1')).rejects.toThrow(/read timeout/)
    await relay.become('pass')
    await insert(2)
    await relay.become('silence')
    const started = Date.now()
    await expect(insert(3)).rejects.toThrow(/timeout/)
    // No wait for another connection, whose limit is ten seconds, after the one for the answer.
    expect(Date.now() - started).toBeLessThan(9_000)
    await relay.become('pass')
    await insert(4)
    expect(await entries()).toEqual([1, 2, 4])
  }, 60_000)

  test('a session that came to only read is left for another one, and the transaction is done there', async () => {
    await insert(1)
    const stale = await backend()
    await inTransaction(pool, {}, (transaction) =>
      transaction.query('set session characteristics as transaction read only'),
    )
    await insert(2)
    expect(await entries()).toEqual([1, 2])
    expect(await backend()).not.toBe(stale)
  })

  test('while the server only reads nothing is kept, nothing is retried for ever, and afterwards all is well', async () => {
    await insert(1)
    await readOnly(true)
    await inTransaction(pool, {}, (transaction) =>
      transaction.query('set session characteristics as transaction read only'),
    )
    await expect(insert(2)).rejects.toThrow(ReadOnlyServer)
    await expect(pool.query('select 1')).rejects.toThrow(/takes no changes now/)
    await expect.poll(backend).toBeUndefined()
    await readOnly(false)
    await insert(3)
    expect(await entries()).toEqual([1, 3])
  })
})

test.each([
  ['25006', true],
  ['57P01', true],
  ['57P02', true],
  ['57P03', true],
  ['57P05', true],
  ['08006', true],
  ['57014', false],
  ['40001', false],
  ['23505', false],
])('a server that says %s is gone: %s', (code, gone) => {
  const error = Object.assign(new pg.DatabaseError('x', 1, 'error'), { code })
  expect(isServerGone(error)).toBe(gone)
})

test('what a program throws for its own reasons says nothing about the server', () => {
  expect(isServerGone(new Error('changed my mind'))).toBe(false)
  expect(isServerGone(undefined)).toBe(false)
})
