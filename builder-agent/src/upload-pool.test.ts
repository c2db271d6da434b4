import { setImmediate as turn } from 'node:timers/promises'
import { parseStorePath, type StorePath, type UploadedPath } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { uploadPool } from './upload-pool.ts'

const never = new AbortController().signal

function path(index: number): StorePath {
  const parsed = parseStorePath(`/nix/store/${'0'.repeat(31)}${index}-p${index}`)
  if (parsed === null) throw new Error('the test made no store path')
  return parsed
}

function uploadedOf(of: StorePath): UploadedPath {
  return {
    path: of,
    nar_hash: '',
    nar_size: 1,
    references: [],
    deriver: null,
    ca: null,
    url: '',
    compression: 'zstd',
    file_hash: '',
    file_size: 1,
  }
}

test('no path is sent twice at a time, no more go at once than allowed, and every push gets all it asked for', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 10 }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
      async (atOnce, pushes, fates) => {
        const pool = uploadPool(atOnce)
        const busy = new Set<StorePath>()
        let failures = 0
        const upload = (of: StorePath) => async () => {
          expect(busy.has(of)).toBe(false)
          busy.add(of)
          expect(busy.size).toBeLessThanOrEqual(atOnce)
          await turn()
          busy.delete(of)
          if (fates.pop() === false) {
            failures += 1
            throw new Error('the connection broke')
          }
          return uploadedOf(of)
        }
        let rejected = 0
        await Promise.all(
          pushes.map(async (wanted) => {
            const push = pool.begin()
            await Promise.all(
              wanted.map(path).map(async (of) => {
                try {
                  expect((await push.once(of, upload(of), never)).uploaded.path).toBe(of)
                } catch {
                  rejected += 1
                }
              }),
            )
            push.end()
          }),
        )
        // Only the push whose own upload failed hears of it; those that waited try for themselves.
        expect(rejected).toBe(failures)
        expect(busy.size).toBe(0)
      },
    ),
    { numRuns: 50 },
  )
})

test('what is sent stays known until its push is committed, and is sent again after that', async () => {
  const pool = uploadPool(2)
  let sent = 0
  const upload = async (): Promise<UploadedPath> => {
    sent += 1
    return uploadedOf(path(1))
  }
  const first = pool.begin()
  const second = pool.begin()
  expect(await first.once(path(1), upload, never)).toMatchObject({ own: true })
  expect(await second.once(path(1), upload, never)).toMatchObject({ own: false })
  first.end()
  expect(await second.once(path(1), upload, never)).toMatchObject({ own: true })
  expect(sent).toBe(2)
})

test('a job that must stop does not wait for the upload of another one', async () => {
  const pool = uploadPool(2)
  const stop = new AbortController()
  const stuck = pool.begin().once(path(1), () => new Promise<UploadedPath>(() => {}), never)
  const waiting = pool.begin().once(path(1), async () => uploadedOf(path(1)), stop.signal)
  stop.abort()
  await expect(waiting).rejects.toThrow()
  await Promise.race([stuck, turn()])
})
