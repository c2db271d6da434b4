import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { EnvironmentReader } from './environment.ts'
import type { Endpoint, HttpRequest } from './http-api.ts'
import { openRelay, readRelayQueue } from './relay-queue.ts'

let server: Server
let endpoint: string
const bodies: string[] = []
const warnings: string[] = []

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { Entries } = JSON.parse(Buffer.concat(chunks).toString())
    bodies.push(Entries[0].MessageBody)
    const md5 = createHash('md5').update(Entries[0].MessageBody).digest('hex')
    response.setHeader('content-type', 'application/x-amz-json-1.0')
    response.end(
      JSON.stringify({ Successful: [{ Id: '0', MessageId: 'm', MD5OfMessageBody: md5 }], Failed: [] }),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  endpoint = `http://127.0.0.1:${address.port}`
})
afterAll(() => {
  server.close()
})
beforeEach(() => {
  bodies.length = 0
  warnings.length = 0
})

const log = (_level: string, message: string): void => {
  warnings.push(message)
}
const request: HttpRequest = {
  route: 'POST /v1/flakes',
  method: 'POST',
  path: '/v1/flakes',
  rawQuery: '',
  parameters: {},
  headers: [],
  body: Buffer.alloc(0),
  requestId: 'r',
  sourceIp: '127.0.0.1',
}
const answering =
  (status: number): Endpoint =>
  async () => ({ status })

test('the relay is woken after a success, and by nothing else', async () => {
  const relay = openRelay(
    { url: `${endpoint}/1/relay`, aws: { region: 'eu-test-1', endpoint: { sqs: endpoint } } },
    log,
  )
  expect(await relay.after(answering(201))(request)).toEqual({ status: 201 })
  expect(bodies).toEqual(['look into the outbox'])
  expect(await relay.after(answering(409))(request)).toEqual({ status: 409 })
  expect(bodies.length).toBe(1)
  relay.close()
})

test('a queue that cannot be reached costs the caller nothing but a line in the log', async () => {
  const nowhere = 'http://127.0.0.1:1'
  const relay = openRelay(
    { url: `${nowhere}/1/relay`, aws: { region: 'eu-test-1', endpoint: { sqs: nowhere } } },
    log,
  )
  expect(await relay.after(answering(202))(request)).toEqual({ status: 202 })
  expect(warnings).toEqual(['the relay was not woken'])
  relay.close()
})

test('without a queue, as on one machine, nothing is sent', async () => {
  const relay = openRelay(readRelayQueue(new EnvironmentReader({})), log)
  expect(await relay.after(answering(202))(request)).toEqual({ status: 202 })
  expect([bodies, warnings]).toEqual([[], []])
})
