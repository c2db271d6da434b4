import { expect, test } from 'vitest'
import { awsClients } from './clients.ts'
import { rdsPassword } from './rds-token.ts'
import { batches } from './sqs.ts'

test('a stand-in on this machine never sees real credentials and gets every request itself', async () => {
  const { sqs, s3 } = awsClients({
    region: 'us-east-1',
    endpoint: { sqs: 'http://127.0.0.1:9', s3: 'http://127.0.0.1:9' },
  })
  expect(await sqs.config.credentials()).toMatchObject({ accessKeyId: 'test' })
  expect(await s3.config.credentials()).toMatchObject({ accessKeyId: 'test' })
  expect(sqs.config.useQueueUrlAsEndpoint).toBe(false)
  expect(s3.config.forcePathStyle).toBe(true)
})

test('AWS itself is addressed as the SDK does it', () => {
  const { sqs, s3 } = awsClients({ region: 'us-east-1' })
  expect(sqs.config.useQueueUrlAsEndpoint).toBe(true)
  expect(s3.config.forcePathStyle).toBe(false)
})

test('given credentials win over those for loopback', async () => {
  const credentials = { accessKeyId: 'mine', secretAccessKey: 'secret' }
  const { s3 } = awsClients({ region: 'us-east-1', endpoint: { s3: 'http://127.0.0.1:9' }, credentials })
  expect(await s3.config.credentials()).toMatchObject({ accessKeyId: 'mine' })
})

test('a login token for RDS names host and role, expires, and is computed without a network', async () => {
  const credentials = { accessKeyId: 'mine', secretAccessKey: 'secret' }
  const password = rdsPassword({
    host: 'db.example',
    port: 5432,
    user: 'cf_ingest',
    region: 'us-east-1',
    credentials,
  })
  const token = new URL(`https://${await password()}`)
  expect(token.host).toBe('db.example:5432')
  expect(Object.fromEntries(token.searchParams)).toMatchObject({
    Action: 'connect',
    DBUser: 'cf_ingest',
    'X-Amz-Expires': '900',
  })
})

test('batches hold at most ten messages and 256 KiB, in order, each with its place', () => {
  const small = Array.from({ length: 23 }, (_, n) => ({ body: String(n) }))
  expect(batches(small).map((batch) => batch.length)).toEqual([10, 10, 3])
  expect(
    batches(small)
      .flat()
      .map(({ Id }) => Number(Id)),
  ).toEqual(small.map((_, n) => n))
  const large = Array.from({ length: 3 }, () => ({ body: 'x'.repeat(100 * 1024) }))
  expect(batches(large).map((batch) => batch.length)).toEqual([2, 1])
  expect(batches([])).toEqual([])
})
