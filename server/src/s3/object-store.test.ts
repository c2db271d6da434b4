import { appendFileSync, mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ObjectStore, page } from './object-store.ts'
import { requestedRange } from './read-object.ts'

const directory = mkdtempSync(join(tmpdir(), 'cf-objects-'))
const store = new ObjectStore({ directory, durable: true })
beforeAll(async () => {
  await store.open()
  await store.createBucket('bucket')
})
afterAll(() => rmSync(directory, { recursive: true }))

async function put(key: string, body: string): Promise<void> {
  async function* content(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(body)
  }
  const describe = () => ({ key, etag: '"e"', lastModified: new Date(0).toISOString(), headers: {} })
  await store.put('bucket', key, { body: content(), describe, condition: { kind: 'none' } })
}

test('pages of a listing add up to all keys below the prefix, in order, each group once', () => {
  const key = fc.string({ unit: fc.constantFrom('a', 'b', '/'), minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(
      fc.uniqueArray(key),
      fc.integer({ min: 1, max: 4 }),
      fc.constantFrom('', 'a', 'a/'),
      (keys, max, prefix) => {
        const found: string[] = []
        let after = ''
        for (;;) {
          const { names, prefixes, next } = page(keys, { prefix, after, delimiter: '/', max })
          found.push(...[...names, ...prefixes].sort())
          if (next === undefined) break
          after = next
        }
        const below = keys.filter((one) => one.startsWith(prefix))
        const group = (one: string): string => {
          const end = one.indexOf('/', prefix.length)
          return end === -1 ? one : one.slice(0, end + 1)
        }
        expect(found).toEqual([...new Set(below.map(group))].sort())
      },
    ),
  )
})

test('a file that lost its end is reported as damaged, not served', async () => {
  await put('damaged', 'a body of some length')
  const [part = ''] = readdirSync(join(directory, 'buckets/bucket'))
  const [name = ''] = readdirSync(join(directory, 'buckets/bucket', part))
  const file = join(directory, 'buckets/bucket', part, name)
  truncateSync(file, 10)
  await expect(store.get('bucket', 'damaged')).rejects.toThrow(/not a whole object/)
  appendFileSync(file, 'CFOBJ01\n')
  await expect(store.get('bucket', 'damaged')).rejects.toThrow()
  await store.delete('bucket', 'damaged')
})

test('a bucket is removed only when it is empty', async () => {
  await store.createBucket('short-lived')
  await put('kept', '')
  await expect(store.deleteBucket('bucket')).rejects.toMatchObject({ code: 'BucketNotEmpty' })
  await store.deleteBucket('short-lived')
  await expect(store.requireBucket('short-lived')).rejects.toMatchObject({ code: 'NoSuchBucket' })
})

test.each(['', 'ab', '..', '../escape', 'a..b', 'UPPER', 'a/b', '-a', 'a'.repeat(64)])(
  '%j is no bucket',
  async (name) => {
    await expect(store.createBucket(name)).rejects.toMatchObject({ code: 'InvalidBucketName' })
    await expect(store.requireBucket(name)).rejects.toMatchObject({ code: 'NoSuchBucket' })
  },
)

test.each([
  { range: undefined, is: undefined },
  { range: 'bytes=0-0', is: { first: 0, last: 0 } },
  { range: 'bytes=5-99', is: { first: 5, last: 9 } },
  { range: 'bytes=-99', is: { first: 0, last: 9 } },
  { range: 'bytes=7-3', is: undefined },
  { range: 'bytes=0-1,3-4', is: undefined },
  { range: 'items=0-1', is: undefined },
])('of ten bytes $range means $is', ({ range, is }) => {
  expect(requestedRange(range, 10)).toEqual(is)
})
