import { createServer, type IncomingMessage, type Server } from 'node:http'
import { verifyEd25519 } from '@crystal-forge/protocol'
import type pg from 'pg'

/**
 * The rival of P1, written from a description of the original's handler: Ed25519 over the body alone, the key looked up by
 * host name, and three SELECTs and one INSERT for each report. It checks no freshness, keeps no evidence and writes no event.
 *
 * Of the original's indexes the one on (hostname, timestamp) of the states is missing, so that "the last state of this
 * host" reads the table; `indexes: 'added'` gives it one.
 */
export async function originalShapedServer(
  pool: pg.Pool,
  { schema, indexes }: { readonly schema: string; readonly indexes: RivalIndexes },
): Promise<Server> {
  await pool.query(tables(schema))
  if (indexes === 'added') await pool.query(`create index on ${schema}.state (hostname, timestamp desc)`)
  return createServer((request, response) => {
    handle(pool, schema, request).then(
      ({ status, body }) =>
        response.writeHead(status, { 'content-length': Buffer.byteLength(body) }).end(body),
      (error: unknown) => response.writeHead(500, { 'content-length': 0 }).end(String(error)),
    )
  })
}

export type RivalIndexes = 'as in the original' | 'added'

async function handle(
  pool: pg.Pool,
  schema: string,
  request: IncomingMessage,
): Promise<{ status: number; body: string }> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  const hostname = String(request.headers['x-key-id'])
  const signature = Buffer.from(String(request.headers['x-signature']), 'base64')
  const key = await pool.query(`select public_key from ${schema}.system where hostname = $1`, [hostname])
  const publicKey = new Uint8Array(Buffer.from(String(key.rows[0]?.public_key), 'base64'))
  if (!verifyEd25519({ message: body, publicKey, signature })) return { status: 401, body: '' }
  const report = JSON.parse(body.toString())
  await pool.query(`select * from ${schema}.state where hostname = $1 order by timestamp desc limit 1`, [
    hostname,
  ])
  const values = [report.hostname, report.change_reason, report.store_path, report]
  await pool.query(
    `insert into ${schema}.state (hostname, change_reason, store_path, context) values ($1, $2, $3, $4)`,
    values,
  )
  const { rows } = await pool.query(`select desired_target from ${schema}.system where hostname = $1`, [
    hostname,
  ])
  return { status: 200, body: JSON.stringify({ desired_target: rows[0]?.desired_target ?? null }) }
}

function tables(schema: string): string {
  return `
create schema ${schema};
create table ${schema}.system (id serial primary key, hostname text unique not null, public_key text not null, desired_target text);
create table ${schema}.state (
  id serial primary key, hostname text not null, change_reason text not null, store_path text, context jsonb,
  timestamp timestamptz not null default now()
)`
}
