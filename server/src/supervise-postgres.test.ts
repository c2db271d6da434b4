import { expect, test } from 'vitest'
import { restartPause, supervisePostgres } from './supervise-postgres.ts'

test('the first restart is at once, later ones wait twice as long each, at most half a minute', () => {
  expect([0, 1, 2, 3, 6, 7, 50].map(restartPause)).toEqual([0, 500, 1000, 2000, 16_000, 30_000, 30_000])
})

test('a server that died is started again, and again when that failed', async () => {
  const lines: string[] = []
  let alive = true
  let tries = 0
  const supervision = supervisePostgres(
    {
      isRunning: async () => alive,
      revive: async () => {
        if (++tries === 1) throw new Error('not yet')
        alive = true
        return 77
      },
    },
    (level, message) => lines.push(`${level} ${message}`),
  )
  alive = false
  await expect.poll(() => alive, { timeout: 10_000 }).toBe(true)
  await supervision.stop()
  expect(tries).toBe(2)
  expect(lines).toEqual([
    'error the embedded Postgres died: starting it again',
    'error the embedded Postgres did not start',
    'error the embedded Postgres died: starting it again',
    'info the embedded Postgres runs again',
  ])
})

test('after stop nothing is started', async () => {
  let revived = 0
  const supervision = supervisePostgres(
    { isRunning: async () => false, revive: async () => ++revived },
    () => {},
  )
  await supervision.stop()
  expect(revived).toBe(0)
})
