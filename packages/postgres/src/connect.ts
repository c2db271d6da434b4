import pg from 'pg'
import { refuseUnfitSchema } from './schema-guard.ts'
import { refuseReadOnly } from './server-gone.ts'

export type { Database } from './database.ts'

/** Where a database is and how to prove who we are. */
export type ConnectOptions = {
  /** Name, address, or the directory of a Unix socket (begins with `/`). */
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  /** What the session becomes after the login; `user` must be a member of it. */
  readonly role?: string | undefined
  /** A function is called for each new connection: IAM tokens live for 15 minutes. */
  readonly password?: string | (() => Promise<string>) | undefined
  /** Absent: no TLS. Present: the certificate chain and the name are verified, always. */
  readonly tls?: Tls | undefined
  /** Connections of this pool. */
  readonly max?: number
  /** Seen in pg_stat_activity. */
  readonly applicationName?: string
  /** Numbered files that the schema must have; asked at each new connection. Absent: whatever there is. */
  readonly schema?: readonly string[]
  readonly statementTimeoutMs?: number
  /**
   * How long to wait for an answer, more than the server gives a statement; absent: for ever. A server that vanished
   * without a word sends none, and its connection would be kept for a quarter of an hour.
   */
  readonly answerTimeoutMs?: number
  /** False: queries lose their names, so that nothing stays prepared in a session. */
  readonly namedStatements?: boolean
  /** Told of connections that broke while idle. The pool replaces them by itself. */
  readonly onIdleError?: (error: Error) => void
}

/** What `connect` returns; most queries need only a `Database`. */
export type Pool = pg.Pool

export type Tls = {
  /** PEM of the trusted authorities; undefined means those of the runtime. */
  readonly ca?: string | undefined
  /** The name that the certificate must carry. */
  readonly servername: string
}

/**
 * A pool whose values are safe to compute with: int8 is a number and never a rounded one (a value beyond 2^53 fails its
 * query), timestamptz a Date, json and jsonb parsed, numeric, date and timestamp text. Opens no connection until
 * the first query, and keeps none to a server that takes no changes: see server-gone.ts.
 */
export function connect(options: ConnectOptions): pg.Pool {
  const pool = new pg.Pool({
    host: options.host,
    port: options.port,
    database: options.database,
    user: options.user,
    password: options.password,
    ...(options.role === undefined ? {} : { options: `-c role=${roleName(options.role)}` }),
    ssl: tlsSettings(options.tls),
    max: options.max ?? POOL_MAX,
    application_name: options.applicationName ?? 'crystal-forge',
    statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    ...(options.answerTimeoutMs === undefined ? {} : { query_timeout: options.answerTimeoutMs }),
    maxLifetimeSeconds: LIFETIME_S,
    onConnect: (client) => greet(client, options.schema),
    keepAlive: true,
    allowExitOnIdle: true,
    types: { getTypeParser: typeParser },
  })
  if (options.namedStatements === false) pool.on('connect', forgetNames)
  // Without a listener a broken idle connection would end the program; and one that breaks while it is being ended has
  // lost the pool's.
  pool.on('error', options.onIdleError ?? (() => {}))
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

/** A connection that could not do what it is for is none. */
async function greet(client: pg.ClientBase, schema: readonly string[] | undefined): Promise<void> {
  await refuseReadOnly(client)
  if (schema !== undefined) await refuseUnfitSchema(client, schema)
}

function forgetNames(client: pg.PoolClient): void {
  const query: unknown = Reflect.get(client, 'query')
  if (typeof query !== 'function') throw new TypeError('a client of pg has no query')
  Reflect.set(client, 'query', (first: unknown, ...rest: unknown[]): unknown =>
    Reflect.apply(query, client, [withoutName(first), ...rest]),
  )
}

function withoutName(query: unknown): unknown {
  if (typeof query !== 'object' || query === null || !('name' in query) || 'submit' in query) return query
  const { name: _, ...rest } = query
  return rest
}

/** The startup options are a command line of their own: nothing but a plain name may get there. */
function roleName(role: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(role))
    throw new RangeError(`not the name of a role: ${JSON.stringify(role)}`)
  return role
}

type TlsSettings = { readonly rejectUnauthorized: true; readonly servername: string; readonly ca?: string }

/** What libpq calls verify-full. An `sslmode` in a URL means less in node-postgres, so it is never passed on. */
function tlsSettings(tls: Tls | undefined): TlsSettings | false {
  if (!tls) return false
  const verified = { rejectUnauthorized: true, servername: tls.servername } as const
  return tls.ca === undefined ? verified : { ...verified, ca: tls.ca }
}

// pg declares the parser of a type as `any`: what it returns is what the column holds.
type TypeParser = (text: string) => unknown

function typeParser(oid: number, format?: 'text' | 'binary'): TypeParser {
  if (format !== 'binary') {
    const own = PARSERS.get(oid)
    if (own) return own
  }
  return pg.types.getTypeParser(oid, format)
}

/** Throws for what a number would round, instead of being wrong from 2^53 on. */
export function exactInteger(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value
  throw new RangeError(
    `the database holds ${text}, which is too large for an exact number: select it as text`,
  )
}

function exactIntegers(text: string): unknown {
  const list: unknown = pg.types.getTypeParser(OID.int8Array, 'text')(text)
  return Array.isArray(list) ? list.map((item) => (item === null ? null : exactInteger(String(item)))) : list
}

const OID = { int8: 20, int8Array: 1016, date: 1082, timestamp: 1114 }

const PARSERS: ReadonlyMap<number, TypeParser> = new Map<number, TypeParser>([
  [OID.int8, exactInteger],
  [OID.int8Array, exactIntegers],
  // Without a zone there is no instant; a Date would silently take the zone of this machine.
  [OID.date, (text) => text],
  [OID.timestamp, (text) => text],
])

/** A function handles one request at a time and the server a handful; Postgres pays memory for each connection. */
const POOL_MAX = 10
/** API Gateway gives up after 30 s, so no statement of a request may take longer. */
const STATEMENT_TIMEOUT_MS = 25_000
/** A transaction that waits for its program holds locks that others wait for. */
const IDLE_IN_TRANSACTION_MS = 60_000
const CONNECT_TIMEOUT_MS = 10_000
/** What only reads would not notice that the name of the database leads to another server by now. */
const LIFETIME_S = 600
