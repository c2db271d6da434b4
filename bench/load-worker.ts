import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'

/** What a worker is given: requests as bytes, ready to be written. */
export type LoadOrder = {
  readonly port: number
  readonly requests: readonly Uint8Array[]
  readonly connections: number
  readonly seconds: number
}

/** What it saw. Latencies in milliseconds, one for each answer. */
export type LoadResult = {
  readonly elapsedMs: number
  readonly statuses: { readonly [status: string]: number | undefined }
  readonly latencies: Float64Array
  /** How many of the requests were sent, from the front. */
  readonly sent: number
  /** Processor time of the thread that made the load. */
  readonly cpuMs: number
}

/** Closed loop over keep-alive connections: each sends its next request when the answer to the last one is complete. */
async function load(order: LoadOrder): Promise<LoadResult> {
  const latencies: number[] = []
  const statuses: Record<string, number> = {}
  let next = 0
  const start = performance.now()
  const deadline = start + order.seconds * 1000
  const take = (): Uint8Array | undefined =>
    performance.now() < deadline ? order.requests[next++] : undefined
  const record = (status: string, ms: number): void => {
    statuses[status] = (statuses[status] ?? 0) + 1
    latencies.push(ms)
  }
  await Promise.all(Array.from({ length: order.connections }, () => drive(order.port, take, record)))
  const elapsedMs = performance.now() - start
  const cpu = process.threadCpuUsage()
  return {
    elapsedMs,
    statuses,
    latencies: Float64Array.from(latencies),
    sent: Math.min(next, latencies.length),
    cpuMs: (cpu.user + cpu.system) / 1000,
  }
}

function drive(
  port: number,
  take: () => Uint8Array | undefined,
  record: (status: string, ms: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    let received = ''
    let began = 0
    const send = (): void => {
      const request = take()
      if (request === undefined) {
        socket.end()
        resolve()
        return
      }
      began = performance.now()
      socket.write(request)
    }
    socket.setEncoding('latin1')
    socket.on('connect', send)
    socket.on('error', reject)
    socket.on('data', (chunk: string) => {
      received += chunk
      const end = received.indexOf('\r\n\r\n')
      if (end < 0) return
      const length = /content-length: (\d+)/i.exec(received)?.[1]
      if (length === undefined || received.length < end + 4 + Number(length)) return
      record(received.slice(9, 12), performance.now() - began)
      received = ''
      send()
    })
  })
}

parentPort?.postMessage(await load(workerData))
