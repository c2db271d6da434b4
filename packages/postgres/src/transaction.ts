import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Database } from './connect.ts'
import { isReadOnly, isServerGone, isSilence } from './server-gone.ts'

/** What the transaction may see: row-level security reads both settings. */
export type Scope = {
  /** Rows of this tenant. Absent: of none. */
  readonly tenant?: string | undefined
  /** What the caller presents to be recognised before its tenant is known: a key id, the id of a hook. */
  readonly lookup?: string | undefined
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable'
}

/**
 * Runs `work` in one transaction on one connection: committed when it resolves, rolled back when it throws. A deadlock
 * or a serialization failure runs `work` again, a bounded number of times, so it must have no effects outside of the database.
 * A connection that turns out to be dead before `work` began is replaced, and so is one to a server that only reads. When
 * one breaks later, during the commit for instance, the outcome is unknown; that error is passed on, never retried.
 */
export async function inTransaction<T>(
  pool: pg.Pool,
  scope: Scope,
  work: (transaction: Database) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(pool, scope, work)
    } catch (error) {
      const nothingDone = error instanceof NothingDone
      if (attempt === ATTEMPTS_MAX || !(nothingDone || isConflict(error)))
        throw nothingDone ? error.cause : error
      if (!nothingDone) await sleep(conflictPauseMs(attempt, Math.random()))
    }
  }
}

async function once<T>(pool: pg.Pool, scope: Scope, work: (transaction: Database) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  // Without a listener a connection that breaks between two queries would end the program; the next query tells.
  client.on('error', ignore)
  let broken = true
  try {
    await begin(client, scope)
    const result = await work(client)
    const { command } = await client.query('commit')
    broken = false
    // Postgres answers the commit of a failed transaction with a quiet rollback.
    if (command === 'ROLLBACK')
      throw new Error('the transaction had failed: an error inside it was swallowed')
    return result
  } catch (error) {
    if (broken) broken = error instanceof NothingDone || isServerGone(error) || (await rollbackFails(client))
    throw isReadOnly(error) ? new NothingDone(error) : error
  } finally {
    client.off('error', ignore)
    client.release(broken)
  }
}

async function begin(client: pg.PoolClient, scope: Scope): Promise<void> {
  try {
    await client.query(opening(client, scope))
  } catch (error) {
    // Who waited for an answer in vain has no time left for another server.
    throw isServerGone(error) && !isSilence(error) ? new NothingDone(error) : error
  }
}

/** Nothing happened, and another connection may fare better. */
class NothingDone extends Error {
  constructor(cause: unknown) {
    super('nothing was done', { cause })
  }
}

function ignore(): void {}

/** One round trip instead of two: the settings travel as literals, which the driver quotes. */
function opening(client: pg.PoolClient, scope: Scope): string {
  const set = (name: string, value: string | undefined): string =>
    `set_config('${name}', ${client.escapeLiteral(value ?? '')}, true)`
  const isolation = scope.isolation ?? 'read committed'
  return `begin isolation level ${isolation}; select ${set('cf.tenant', scope.tenant)}, ${set('cf.lookup', scope.lookup)}`
}

async function rollbackFails(client: pg.PoolClient): Promise<boolean> {
  return client.query('rollback').then(
    () => false,
    () => true,
  )
}

/** Postgres undid the transaction because of another one; the same work may succeed now. */
export function isConflict(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40001' || error.code === '40P01')
}

/** Doubles from 5 ms and is spread over half its length, so that two that collided do not collide again. */
export function conflictPauseMs(attempt: number, random: number): number {
  const full = 5 * 2 ** attempt
  return full / 2 + (full / 2) * random
}

/** Five rounds lose only to a hot row, and that is a design error that should be seen. */
const ATTEMPTS_MAX = 5
