import { connect, createServer, type Server, type Socket } from 'node:net'

/** What becomes of connections: they get through; the port is closed; or nothing is ever heard of what is sent. */
export type RelayMode = 'pass' | 'refuse' | 'silence'

/** An address that can lead to another server, to none, or into the void, as the name of a database does in a failover. */
export type TcpRelay = {
  readonly port: number
  /** For new connections. Those that stand are kept, unless the port is closed. */
  leadTo(port: number): void
  become(mode: RelayMode): Promise<void>
  /** Cuts each connection that stands when its client says something next. */
  cutAtNextWord(): void
  close(): Promise<void>
}

export async function startTcpRelay(target: number): Promise<TcpRelay> {
  let mode: RelayMode = 'pass'
  let leadsTo = target
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket; cut: boolean }>()
  const accept = (client: Socket): void => {
    const server = connect(leadsTo, '127.0.0.1')
    const pair = { client, server, cut: false }
    pairs.add(pair)
    const end = (): void => {
      client.destroy()
      server.destroy()
      pairs.delete(pair)
    }
    for (const side of [client, server]) side.on('error', end).on('close', end)
    client.on('data', (chunk) => {
      if (pair.cut) end()
      else if (mode !== 'silence') server.write(chunk)
    })
    server.on('data', (chunk) => mode !== 'silence' && client.write(chunk))
  }
  let listener: Server | undefined = await listening(accept, 0)
  const { port } = listener.address() as { port: number }
  const endAll = (): void => {
    for (const { client, server } of pairs) {
      client.destroy()
      server.destroy()
    }
  }
  const stopListening = async (): Promise<void> => {
    const old = listener
    listener = undefined
    if (old !== undefined) await new Promise((done) => old.close(done))
  }
  return {
    port,
    leadTo: (next) => {
      leadsTo = next
    },
    become: async (next) => {
      mode = next
      if (next === 'refuse') {
        endAll()
        await stopListening()
      } else listener ??= await listening(accept, port)
    },
    cutAtNextWord: () => {
      for (const pair of pairs) pair.cut = true
    },
    close: async () => {
      endAll()
      await stopListening()
    },
  }
}

function listening(accept: (client: Socket) => void, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(accept)
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
