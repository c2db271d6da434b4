import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { accountFor, canReach, makeOpenDirectory, mayEnter, reachableHome } from './account.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-account-'))
chmodSync(root, 0o755)
afterAll(() => rmSync(root, { recursive: true, force: true }))

const nobody = { uid: 65_534, gid: 65_534, switchTo: true }

test('root hands over to nobody, everybody else stays who they are', () => {
  expect(accountFor(0)).toEqual(nobody)
  expect(accountFor(1000)).toMatchObject({ uid: 1000, switchTo: false })
})

describe('the one execute bit that counts decides', () => {
  test.each([
    { whose: 'everybody', mode: 0o755, uid: 0, gid: 0, may: true },
    { whose: 'nobody else', mode: 0o700, uid: 0, gid: 0, may: false },
    { whose: 'owner', mode: 0o700, uid: 65_534, gid: 0, may: true },
    { whose: 'owner without a bit, although others have it', mode: 0o071, uid: 65_534, gid: 0, may: false },
    { whose: 'group', mode: 0o710, uid: 0, gid: 65_534, may: true },
    { whose: 'group without a bit, although others have it', mode: 0o701, uid: 0, gid: 65_534, may: false },
  ])('$whose', ({ mode, uid, gid, may }) => {
    expect(mayEnter({ mode, uid, gid }, nobody)).toBe(may)
  })
})

test('a closed ancestor closes everything below it', async () => {
  const closed = join(root, 'closed')
  mkdirSync(join(closed, 'open'), { recursive: true })
  chmodSync(closed, 0o700)
  expect(await canReach(join(closed, 'open'), nobody)).toBe(false)
  expect(await reachableHome(join(closed, 'open'), nobody, join(root, 'system'))).toMatch(
    /system\/[0-9a-f]{16}$/,
  )
  expect(await reachableHome(join(closed, 'open'), accountFor(1000), join(root, 'system'))).toBe(
    join(closed, 'open'),
  )
  await expect(reachableHome(join(closed, 'open'), nobody, join(closed, 'system'))).rejects.toThrow(
    /chmod o\+x/,
  )
})

test('directories are made passable under a strict umask, and existing ones stay as they are', async () => {
  const closed = join(root, 'existing')
  mkdirSync(closed, { mode: 0o700 })
  const umask = process.umask(0o077)
  try {
    await makeOpenDirectory(join(closed, 'a', 'b'))
  } finally {
    process.umask(umask)
  }
  const modes = ['', 'a', 'a/b'].map((path) => statSync(join(closed, path)).mode & 0o777)
  expect(modes).toEqual([0o700, 0o755, 0o755])
})
