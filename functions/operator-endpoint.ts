import type { Pool } from '@crystal-forge/postgres'
import {
  type Actor,
  type Database,
  findApiToken,
  inTransaction,
  type Listed,
  type Page,
} from '@crystal-forge/postgres'
import { encodeBase64Url } from '@crystal-forge/protocol'
import type * as z from 'zod'
import { type Endpoint, type HttpRequest, problem, type Reply } from './http-api.ts'
import { type Operator, recogniseOperator } from './operator.ts'
import { readBody } from './operator-body.ts'
import { paged, readQuery } from './operator-query.ts'

/** What every endpoint for operators works with. */
export type Context = { readonly pool: Pool; readonly now: () => Date }
export type Call = { readonly request: HttpRequest; readonly operator: Operator }
export type OperatorEndpoint = (call: Call) => Promise<Reply>
export type Endpoints = Record<string, OperatorEndpoint>

/** Only an operator whose role is enough gets to the endpoint. */
export function authorised(context: Context, endpoint: OperatorEndpoint): Endpoint {
  return async (request) => {
    const find = (sha256: string): ReturnType<typeof findApiToken> => findApiToken(context.pool, sha256)
    const recognised = await recogniseOperator(request, find, context.now())
    if (!recognised.ok) return recognised.reply
    return await endpoint({ request, operator: recognised.operator })
  }
}

/**
 * `GET` of a list: known filters, `limit` and `cursor`, anything else is a 400. Answers `{items, next_cursor}` and whatever `read`
 * returns besides.
 */
export function list<Shape extends z.ZodRawShape>(
  context: Context,
  filters: Shape,
  read: (
    database: Database,
    filter: z.output<z.ZodObject<Shape>>,
    page: Page,
  ) => Promise<Listed<unknown> & Readonly<Record<string, unknown>>>,
): OperatorEndpoint {
  return async ({ request, operator }) => {
    const query = paged(request.rawQuery, filters)
    if (!query.ok) return query.reply
    const { items, next, ...more } = await inTenant(context, operator, (database) =>
      read(database, query.filter, query.page),
    )
    const cursor = next === null ? null : encodeBase64Url(Buffer.from(next, 'utf8'))
    return { status: 200, body: { items, next_cursor: cursor, ...more } }
  }
}

/** `GET` of one thing, which takes no parameters. Null becomes a 404. */
export function show(
  context: Context,
  noun: string,
  read: (database: Database, name: string) => Promise<unknown>,
): OperatorEndpoint {
  return async ({ request, operator }) => {
    const query = readQuery(request.rawQuery, {})
    if (!query.ok) return query.reply
    const name = parameter(request, noun)
    const found = await inTenant(context, operator, (database) => read(database, name))
    return found === null ? unknown(noun, name) : { status: 200, body: found }
  }
}

/** A change: the body is parsed, `change` runs in one transaction with the event that it records. */
export function change<Body>(
  context: Context,
  schema: z.ZodType<Body, unknown>,
  make: (
    transaction: Database,
    call: Call & { readonly body: Body; readonly actor: Actor },
  ) => Promise<Reply>,
): OperatorEndpoint {
  return async (call) => {
    const query = readQuery(call.request.rawQuery, {})
    if (!query.ok) return query.reply
    const body = readBody(call.request.body, schema)
    if (!body.ok) return body.reply
    const actor = actorOf(call.operator)
    return await inTenant(context, call.operator, (transaction) =>
      make(transaction, { ...call, body: body.value, actor }),
    )
  }
}

export function inTenant<T>(
  context: Context,
  operator: Operator,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  return inTransaction(context.pool, { tenant: operator.tenant }, work)
}

/** A part of the path; the route table says which there are. */
export function parameter(request: HttpRequest, name: string): string {
  return request.parameters[name] ?? ''
}

export function actorOf(operator: Operator): Actor {
  const { token, name, subject } = operator
  return { kind: 'operator', token, name, subject }
}

/** The answer for a name in the path that stands for nothing of this tenant. */
export function unknown(noun: string, name: string): Reply {
  return problem(
    404,
    `unknown_${noun.replaceAll('-', '_')}`,
    `no ${noun} is called ${JSON.stringify(name.slice(0, 200))}; the list of ${noun}s shows what there is`,
  )
}
