import pg from 'pg'

/**
 * Whether an error says that this server does no (more) work for us, so that its connection is of no use to anybody: it
 * shuts down or starts, the connection broke, no answer came, or it only reads, as the former primary does after a
 * failover. The next connection asks the name again and may find another server.
 */
export function isServerGone(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return isReadOnly(error) || /^(08|57P)/.test(error.code ?? '')
  // What the driver itself says has no code of SQL: it lost the connection, or stopped waiting.
  return error instanceof Error && (DRIVER.test(error.message) || ('syscall' in error && 'errno' in error))
}

/** Whether a statement was refused because the server only reads. */
export function isReadOnly(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === READ_ONLY
}

/** Whether an answer did not come in time; nobody knows what became of the statement. */
export function isSilence(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}

/** A new connection that would refuse every change: a standby, or a server that was set to read only. */
export class ReadOnlyServer extends Error {
  constructor() {
    super(
      'the database takes no changes now: it is a standby, or default_transaction_read_only is on; after a failover this passes',
    )
    this.name = 'ReadOnlyServer'
  }
}

/**
 * Refuses a new connection to a server that only reads. What reads would go on with old data, and what writes would fail
 * with each statement, for as long as the connection lives.
 * @throws {ReadOnlyServer} for a standby, and for a server that was set to read only.
 */
export async function refuseReadOnly(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ only_reads: boolean }>(
    "select pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool as only_reads",
  )
  if (rows[0]?.only_reads !== false) throw new ReadOnlyServer()
}

/** SQLSTATE read_only_sql_transaction. */
const READ_ONLY = '25006'
const DRIVER = /^(Connection terminated|Query read timeout|Client (has encountered|was closed))/
