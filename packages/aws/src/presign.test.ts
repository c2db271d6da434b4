import { expect, test } from 'vitest'
import { presign, presignUrl } from './presign.ts'
import { s3Client } from './s3-client.ts'

const credentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
}

test('the example of the AWS documentation comes out to the letter', () => {
  const { url } = presignUrl({
    method: 'GET',
    url: new URL('https://examplebucket.s3.amazonaws.com/test.txt'),
    region: 'us-east-1',
    expiresSeconds: 86_400,
    credentials,
    now: new Date('2013-05-24T00:00:00Z'),
  })
  expect(new URL(url).searchParams.get('X-Amz-Signature')).toBe(
    'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  )
})

test('keys keep their slashes and lose everything else that a path cannot carry', async () => {
  const client = s3Client({ region: 'eu-west-1', credentials })
  const { url } = await presign(client, {
    method: 'GET',
    bucket: 'b',
    key: "nar/a b'+?.nar",
    expiresSeconds: 60,
  })
  expect(url).toMatch(/^https:\/\/b\.s3\.eu-west-1\.amazonaws\.com\/nar\/a%20b%27%2B%3F\.nar\?/)
})

test.each([0, 1.5, 604_801])('a life of %s seconds is refused', async (expiresSeconds) => {
  const client = s3Client({ region: 'eu-west-1', credentials })
  await expect(presign(client, { method: 'GET', bucket: 'b', key: 'k', expiresSeconds })).rejects.toThrow(
    RangeError,
  )
})
