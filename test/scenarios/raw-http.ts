import { connect } from 'node:net'

/** A request as it goes over the wire: header lines in their order, repeated or malformed as the test wants them. */
export type RawRequest = {
  readonly method: string
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body?: Uint8Array
  /** Of the body only this many bytes are sent before the connection is closed. */
  readonly truncateAt?: number
}

export type Answer = {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The body, when it is a JSON object. */
  readonly body: Readonly<Record<string, unknown>>
}

/**
 * Sends bytes that no HTTP library would send, and reads the answer. `null`: the server closed the connection without
 * one.
 */
export async function exchange(url: string, request: RawRequest): Promise<Answer | null> {
  const { hostname, port } = new URL(url)
  const { method, target, headers, body = new Uint8Array(), truncateAt } = request
  const framed = headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name))
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(framed ? [] : [`content-length: ${body.length}`]),
    'connection: close',
  ]
  // latin1: a header holds bytes, and a test may send any of them.
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  const received = await converse({ host: hostname, port: Number(port) }, [
    head,
    truncateAt === undefined ? body : body.subarray(0, truncateAt),
    truncateAt !== undefined,
  ])
  return received.length === 0 ? null : parseAnswer(received)
}

function converse(
  to: { readonly host: string; readonly port: number },
  [head, body, hangUp]: [head: Uint8Array, body: Uint8Array, hangUp: boolean],
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(to, () => {
      socket.write(head)
      socket.write(body)
      if (hangUp) socket.end()
    })
    socket.setTimeout(SILENCE_MS_MAX, () => socket.destroy(new Error('the server said nothing')))
    socket.on('data', (chunk) => chunks.push(chunk))
    // A server that refuses early may reset what is still being sent; its answer is there all the same.
    socket.on('error', (error) => (chunks.length > 0 ? resolve(Buffer.concat(chunks)) : reject(error)))
    socket.on('close', () => resolve(Buffer.concat(chunks)))
  })
}

function parseAnswer(bytes: Buffer): Answer {
  const end = bytes.indexOf('\r\n\r\n')
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  )
  const text = bytes.subarray(end + 4).toString('utf8')
  const body: unknown = /json/.test(headers['content-type'] ?? '') ? JSON.parse(text) : {}
  return {
    status: Number(first.split(' ')[1]),
    headers,
    text,
    body: typeof body === 'object' && body !== null ? { ...body } : {},
  }
}

const SILENCE_MS_MAX = 20_000
