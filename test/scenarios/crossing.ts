import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  request as send,
} from 'node:http'

/** A request as somebody sees it who stands between a program and its server. */
export type Passing = { readonly method: string; readonly path: string; readonly body: string }

/** A point on the way that comes in every run, and what happens there, once. */
export type Moment = {
  readonly name: string
  readonly is: (passing: Passing) => boolean
  /** `before`: the request never arrives. `after`: it took effect, and its answer is never heard. */
  readonly when: 'before' | 'after'
  readonly strike: (passing: Passing) => void
}

export type Crossing = {
  readonly url: string
  close(): Promise<void>
}

/** Leads to `target`, and strikes at each moment the first time that it comes; the connection of that request is cut. */
export async function openCrossing(
  target: string,
  moments: readonly Moment[],
  struck: (moment: Moment, passing: Passing) => void,
): Promise<Crossing> {
  const left = new Set(moments)
  const server = createServer((incoming, outgoing) => {
    passOn({ target, left, struck }, incoming, outgoing).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${portOf(server)}`, close: () => closed(server) }
}

type Way = {
  readonly target: string
  readonly left: Set<Moment>
  readonly struck: (moment: Moment, passing: Passing) => void
}

async function passOn(
  { target, left, struck }: Way,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const body = await bytesOf(incoming)
  const passing = { method: incoming.method ?? '', path: incoming.url ?? '', body: body.toString('latin1') }
  const moment = [...left].find(({ is }) => is(passing))
  // Nobody else gets it meanwhile; where nothing took effect because the server is away, it is still to come.
  if (moment !== undefined) left.delete(moment)
  const answer =
    moment?.when === 'before'
      ? undefined
      : await forward(target, incoming, body).catch((error: unknown) => {
          if (moment !== undefined) left.add(moment)
          throw error
        })
  if (moment !== undefined) {
    moment.strike(passing)
    struck(moment, passing)
    outgoing.destroy()
  } else if (answer !== undefined) {
    outgoing.writeHead(answer.response.statusCode ?? 502, answer.response.rawHeaders)
    outgoing.end(answer.body)
  }
}

type Answer = { readonly response: IncomingMessage; readonly body: Buffer }

function forward(target: string, incoming: IncomingMessage, body: Buffer): Promise<Answer> {
  const url = new URL(incoming.url ?? '/', target)
  const headers = { ...incoming.headers, host: url.host }
  return new Promise((resolve, reject) => {
    const outgoing = send(url, { method: incoming.method, headers }, (response) => {
      bytesOf(response).then((read) => resolve({ response, body: read }), reject)
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the crossing has no port')
  return address.port
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}
