import { problem } from '@crystal-forge/protocol'
import * as z from 'zod'
import type { Connection } from './connection.ts'
import type { Console } from './console.ts'
import { CommandError, EXIT, type ExitCode } from './exit.ts'
import { reason } from './secret-file.ts'

/** An answer of the operator API, as data whose shape the command looks into. */
export type Row = Readonly<Record<string, unknown>>
export type ListPage = Row & { readonly items: readonly Row[]; readonly next_cursor: string | null }

export type Api = {
  /** The body of an answer; a refusal is a `CommandError` with the problem's own words. */
  call(method: 'GET' | 'POST' | 'PUT' | 'PATCH', path: string, more?: Request): Promise<Row>
  /** The same with the status, for answers whose status says something. */
  ask(method: 'GET', path: string): Promise<{ readonly status: number; readonly body: Row }>
  list(path: string, query: Query): Promise<ListPage>
}
export type Query = Readonly<Record<string, string | undefined>>
type Request = { readonly query?: Query; readonly body?: unknown }

export function apiOf(console: Console, { server, token }: Connection): Api {
  const send = async (method: string, path: string, { query = {}, body }: Request): Promise<Answer> => {
    const url = new URL(server.href.replace(/\/$/, '') + path)
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, value)
    const headers = {
      accept: 'application/json',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    try {
      const response = await console.fetch(url, {
        method,
        headers,
        ...sent,
        redirect: 'error',
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      })
      return { status: response.status, body: readJson(await response.text()) }
    } catch (cause) {
      throw new CommandError(EXIT.unreachable, `${server.origin} could not be reached: ${because(cause)}`, {
        cause,
      })
    }
  }
  const call: Api['call'] = async (method, path, more = {}) => {
    const answer = await send(method, path, more)
    if (answer.status >= 200 && answer.status < 300) return row(answer.body, server)
    throw refusal(answer)
  }
  return {
    call,
    ask: async (method, path) => {
      const answer = await send(method, path, {})
      return { status: answer.status, body: row(answer.body, server) }
    },
    list: async (path, query) => listPage.parse(await call('GET', path, { query })),
  }
}

/** A list, one page or all of them; what stands beside the items is that of the last page. */
export async function readList(api: Api, path: string, query: Query, all: boolean): Promise<ListPage> {
  let page = await api.list(path, query)
  const items = [...page.items]
  while (all && page.next_cursor !== null) {
    page = await api.list(path, { ...query, cursor: page.next_cursor })
    items.push(...page.items)
  }
  return { ...page, items }
}

type Answer = { readonly status: number; readonly body: unknown }

const anyRow: z.ZodType<Row> = z.record(z.string(), z.unknown())
const listPage = z.looseObject({ items: z.array(anyRow), next_cursor: z.string().nullable() })

function row(body: unknown, server: URL): Row {
  const parsed = anyRow.safeParse(body)
  if (parsed.success) return parsed.data
  throw new CommandError(
    EXIT.unreachable,
    `${server.origin} answered something else: is it a Crystal Forge server?`,
  )
}

function refusal({ status, body }: Answer): CommandError {
  const parsed = problem.safeParse(body)
  const words = parsed.success ? (parsed.data.detail ?? parsed.data.title) : `the server answered ${status}`
  const others = parsed.success
    ? (parsed.data.errors ?? []).slice(1).map(({ message }) => `\n  ${message}`)
    : []
  return new CommandError(exitCodeOf(status), `${words}${others.join('')}`)
}

function exitCodeOf(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.notAuthorised
  if (status === 404) return EXIT.notFound
  if (status === 400 || status === 413 || status === 422) return EXIT.usage
  return status === 502 || status === 503 || status === 504 ? EXIT.unreachable : EXIT.failed
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** `fetch failed` says nothing; its cause does. */
function because(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError')
    return `no answer within ${ANSWER_MS_MAX / 1000} s`
  return error instanceof Error && error.cause instanceof Error ? error.cause.message : reason(error)
}

/** The server itself gives up after 30 s. */
const ANSWER_MS_MAX = 35_000
