import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { bucket, s3Client } from '@crystal-forge/aws'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cacheBucket } from './cache-bucket.ts'

let server: Server
let answer: number
beforeAll(async () => {
  // What S3 says to a HEAD, which has no body that could say more.
  server = createServer((_request, response) => response.writeHead(answer).end())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(() => new Promise((resolve) => server.close(resolve)))

test.each([
  [200, true],
  [404, false],
  // Whoever may not list a bucket is told this of an object that is not there.
  [403, false],
])('an object that S3 answers %i about is there: %s', async (status, there) => {
  answer = status
  expect(await cache().has('nar/x.nar.zst')).toBe(there)
})

test('a question that S3 does not understand is no answer', async () => {
  answer = 400
  await expect(cache().has('nar/x.nar.zst')).rejects.toThrow()
})

function cache() {
  const { port } = server.address() as AddressInfo
  const endpoint = `http://127.0.0.1:${port}`
  return cacheBucket(
    bucket(s3Client({ region: 'eu-test-1', endpoint: { sqs: endpoint, s3: endpoint } }), 'cache'),
    't_1',
  )
}
