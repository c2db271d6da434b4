import { readFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * Listens on the wanted port; with 0 on the one of the last start, so that URLs and signatures stay valid, or on a
 * free one when that is taken.
 */
export async function listen(
  server: Server,
  options: { readonly host: string; readonly port: number; readonly portFile: string },
): Promise<number> {
  if (options.port !== 0) return tryPort(server, options.host, options.port)
  const last = Number(await readFile(options.portFile, 'utf8').catch(() => '0'))
  if (Number.isInteger(last) && last > 0 && last < 65_536) {
    const port = await tryPort(server, options.host, last).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') return undefined
      throw error
    })
    if (port !== undefined) return port
  }
  return tryPort(server, options.host, 0)
}

function tryPort(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(error)
    server.once('error', failed)
    server.listen({ host, port }, () => {
      server.off('error', failed)
      const address: AddressInfo | string | null = server.address()
      if (address === null || typeof address === 'string') reject(new Error(`no port on ${host}`))
      else resolve(address.port)
    })
  })
}
