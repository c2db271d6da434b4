import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { type ReportOrder, reportRequests } from './report-requests.ts'

/** What the process is told. The reports are made and signed before the clock starts. */
export type LoadOrder = {
  readonly port: number
  readonly reports: ReportOrder
  readonly connections: number
  readonly seconds: number
}

/** What it saw. Latencies in milliseconds, one for each answer. */
export type LoadResult = {
  readonly elapsedMs: number
  readonly statuses: { readonly [status: string]: number | undefined }
  readonly latencies: readonly number[]
}

/** Closed loop over keep-alive connections: each sends its next request when the answer to the last one is complete. */
async function load(order: LoadOrder, requests: readonly Uint8Array[]): Promise<LoadResult> {
  const latencies: number[] = []
  const statuses: Record<string, number> = {}
  let next = 0
  const start = performance.now()
  const deadline = start + order.seconds * 1000
  const take = (): Uint8Array | undefined => (performance.now() < deadline ? requests[next++] : undefined)
  const record = (status: string, ms: number): void => {
    statuses[status] = (statuses[status] ?? 0) + 1
    latencies.push(ms)
  }
  await Promise.all(Array.from({ length: order.connections }, () => drive(order.port, take, record)))
  const elapsedMs = performance.now() - start
  return {
    elapsedMs,
    statuses,
    latencies,
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

process.once('message', (order: LoadOrder) => {
  const requests = reportRequests(order.reports)
  process.once('message', () => {
    load(order, requests).then(
      (result) => process.send?.(result, () => process.disconnect()),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  })
  process.send?.('ready')
})
