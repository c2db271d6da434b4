import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../../test/postgres/test-database.ts'
import { connect } from './connect.ts'
import { readDatabaseUrl } from './database-url.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase({ content: 'empty' })
})
afterAll(() => database.drop())

async function value(expression: string): Promise<unknown> {
  const { rows } = await database.admin.query(`select ${expression} as value`)
  return rows[0]?.value
}

test.each([
  { sql: '9007199254740991::int8', is: 9007199254740991 },
  { sql: "array['1', null, '3']::int8[]", is: [1, null, 3] },
  { sql: "'2026-11-22 19:00:00.123+02'::timestamptz", is: new Date('2026-11-22T17:00:00.123Z') },
  { sql: "'2026-11-22'::date", is: '2026-11-22' },
  { sql: "'2026-11-22 19:00'::timestamp", is: '2026-11-22 19:00:00' },
  { sql: '12345678901234567890.5::numeric', is: '12345678901234567890.5' },
  { sql: `'{"a":[1]}'::jsonb`, is: { a: [1] } },
  { sql: "'\\xff00'::bytea", is: Buffer.from([0xff, 0]) },
])('$sql arrives as what it is', async ({ sql, is }) => {
  expect(await value(sql)).toEqual(is)
})

test.each(['9007199254740992::int8', "array['-9007199254740993']::int8[]"])(
  '%s fails instead of being rounded',
  async (sql) => {
    await expect(value(sql)).rejects.toThrow(/too large for an exact number/)
    expect(await value('1')).toBe(1)
  },
)

test('the password function is asked for every connection', async () => {
  let asked = 0
  const password = async (): Promise<string> => `token ${++asked}`
  const scram = await database.admin.query("create role asked login password 'x'")
  expect(scram.command).toBe('CREATE')
  const pool = connect({ ...readDatabaseUrl(database.urlFor('asked')), password, max: 1 })
  // The cluster trusts, so the answer of the function does not matter, only that pg accepts one.
  expect((await pool.query('select current_user')).rows).toEqual([{ current_user: 'asked' }])
  await pool.end()
})

test('a statement that takes too long is ended', async () => {
  const pool = connect({ ...readDatabaseUrl(database.url), statementTimeoutMs: 50 })
  await expect(pool.query('select pg_sleep(5)')).rejects.toThrow(/statement timeout/)
  await pool.end()
})

test.each([
  { namedStatements: true, prepared: ['a_name'] },
  { namedStatements: false, prepared: [] },
])(
  'with namedStatements $namedStatements a session keeps the statements $prepared',
  async ({ namedStatements, prepared }) => {
    const pool = connect({ ...readDatabaseUrl(database.url), max: 1, namedStatements })
    try {
      const { rows } = await pool.query({ name: 'a_name', text: 'select $1::int + 1 as value', values: [1] })
      expect(rows).toEqual([{ value: 2 }])
      const kept = await pool.query('select name from pg_prepared_statements')
      expect(kept.rows.map(({ name }) => name)).toEqual(prepared)
    } finally {
      await pool.end()
    }
  },
)

test('a broken idle connection is reported and replaced', async () => {
  const broken: Error[] = []
  const pool = connect({
    ...readDatabaseUrl(database.url),
    max: 1,
    onIdleError: (error) => broken.push(error),
  })
  const { rows } = await pool.query<{ pid: number }>('select pg_backend_pid() as pid')
  await database.admin.query('select pg_terminate_backend($1)', [rows[0]?.pid])
  await expect.poll(() => broken.length).toBe(1)
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await pool.end()
})

test('a server whose certificate nobody vouches for is refused before the password is sent', async () => {
  const server = await tlsDatabase()
  const target = { host: '127.0.0.1', port: server.port, database: 'x', user: 'x', password: 'secret' }
  for (const { tls, error } of [
    { tls: { servername: 'db.example' }, error: /self-signed/ },
    { tls: { servername: 'other.example', ca: server.certificate }, error: /does not match certificate/ },
  ]) {
    const pool = connect({ ...target, tls })
    await expect(pool.query('select 1')).rejects.toThrow(error)
    await pool.end()
  }
  expect(server.received()).toBe('')
  const pool = connect({ ...target, tls: { servername: 'db.example', ca: server.certificate } })
  await expect(pool.query('select 1')).rejects.toThrow()
  await pool.end()
  expect(server.received()).toContain('application_name')
  server.close()
})

type TlsDatabase = {
  readonly port: number
  readonly certificate: string
  /** What arrived under encryption. */
  received(): string
  close(): void
}

/** Speaks the first step of the protocol, "yes, TLS", with a self-signed certificate; then hangs up. */
async function tlsDatabase(): Promise<TlsDatabase> {
  const { key, cert } = selfSigned('db.example')
  let received = ''
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write('S')
      const secure = new TLSSocket(socket, { isServer: true, key, cert })
      secure.on('error', () => {})
      secure.on('data', (data) => {
        received += data.toString('latin1')
        secure.destroy()
      })
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const address = server.address()
  if (!address || typeof address === 'string') throw new Error('no port')
  return { port: address.port, certificate: cert, received: () => received, close: () => server.close() }
}

function selfSigned(name: string): { key: string; cert: string } {
  const directory = mkdtempSync(join(tmpdir(), 'cf-tls-'))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ]
  execFileSync(
    'openssl',
    [...args, '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-keyout', key, '-out', cert],
    {
      stdio: 'ignore',
    },
  )
  try {
    return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  } finally {
    rmSync(directory, { recursive: true })
  }
}
